"""Transforms of events between the encoder and Kafka: declared steps, Python functions, outbox tables. Pure.

Only events of tables that have some come here; see docs/transforms.md.
"""

from __future__ import annotations

from .event import Event

__all__ = ["Event"]
