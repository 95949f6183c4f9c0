"""Whether records are equal but for what must differ between two runs. Pure.

Stricter comparers live beside golden files; this one keeps the runner and the profile from rotting: positions, times
and ids are taken out of the text, and all else must be the same bytes.
"""

from __future__ import annotations

import re
from typing import Any

from tests.conformance.play import MARKER

_VOLATILE = (
    (re.compile(r'"(ts_ms|ts_us|ts_ns|lsn|txId)":\d+'), r'"\1":0'),
    (re.compile(r'"version":"[^"]*"'), '"version":""'),
    (re.compile(r'"sequence":"(?:[^"\\]|\\.)*"'), '"sequence":""'),
    (re.compile(r'"id":"\d+:\d+"'), '"id":""'),
    (re.compile(r"LogicalDecodingMessageId@[0-9a-f]+"), "LogicalDecodingMessageId"),  # an identity hash of Java's
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "uuid"),
)

_COLLECTIONS = re.compile(r'"data_collections":\[(\{[^\]]*\})\]')


def by_topic(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Records of each topic, in order, without markers and what must differ; a header has a set of spellings."""
    found: dict[str, list[Any]] = {}
    for record in records:
        if MARKER in (record["key"] or ""):
            continue
        headers = [
            (one["key"], {_stable(one[spelling]) for spelling in ("value", "connect_value") if spelling in one})
            for one in record["headers"]
        ]
        found.setdefault(record["topic"], []).append((_stable(record["key"]), _stable(record["value"]), headers))
    return found


def differences(golden: list[dict[str, Any]], actual: list[dict[str, Any]]) -> list[str]:
    """What differs, in words; nothing if they are equal."""
    expected, seen = by_topic(golden), by_topic(actual)
    found = [f"topics {sorted(expected)}, not {sorted(seen)}"] if sorted(expected) != sorted(seen) else []
    for topic, records in expected.items():
        others = seen.get(topic, [])
        if len(records) != len(others):
            found.append(f"{topic}: {len(records)} records, not {len(others)}")
        for number, (one, other) in enumerate(zip(records, others, strict=False), 1):
            for part, want, got in zip(("key", "value"), one[:2], other[:2], strict=True):
                if want != got:
                    found.append(f"{topic} {number} {part}: expected {want}, not {got}")
            if [name for name, _ in one[2]] != [name for name, _ in other[2]] or not all(
                want & got for (_, want), (_, got) in zip(one[2], other[2], strict=False)
            ):
                found.append(f"{topic} {number} headers: expected {one[2]}, not {other[2]}")
    return found


def _stable(text: str | None) -> str | None:
    if text is None:
        return None
    for expression, by in _VOLATILE:
        text = expression.sub(by, text)
    return _COLLECTIONS.sub(_in_order, text)


def _in_order(found: re.Match[str]) -> str:
    """Debezium's order is that of a Java hash map."""
    return f'"data_collections":[{",".join(sorted(re.findall(r"{[^}]*}", found[1])))}]'
