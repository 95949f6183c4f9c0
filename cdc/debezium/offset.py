"""Debezium's offset, as Kafka Connect keeps and gives it → where to go on. Pure."""

from __future__ import annotations

import json
from typing import Any

from cdc.errors import ConfigError, Problem

_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "TRUNCATE"})


def start_from(text: str, file: str) -> dict[str, int]:
    """The setting `start_from`.

    Args:
        text: JSON: the answer of `GET /connectors/NAME/offsets`, or a value of Connect's offsets topic.
        file: where it was written.

    Raises:
        ConfigError: no offset of Debezium's PostgreSQL connector; or its snapshot is not finished.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError([Problem(f"is no JSON: {error.msg}, column {error.colno}", "", file, error.lineno)]) from None
    except RecursionError:
        raise ConfigError([Problem("is nested too deeply", "", file)]) from None
    offset = _offset(document)
    if not isinstance(offset, dict) or not isinstance(offset.get("lsn"), int):
        message = "holds no offset of one PostgreSQL connector: GET /connectors/NAME/offsets gives it"
        raise ConfigError([Problem(message, "", file)])
    if offset.get("snapshot") and not (offset.get("snapshot_completed") or offset.get("last_snapshot_record")):
        raise ConfigError([Problem("its snapshot is not finished: let it end, or start anew here", "", file)])
    commit = offset.get("lsn_commit", offset.get("lsn_proc"))
    found = {} if commit is None else {"lsn_commit": commit}
    if offset.get("snapshot") or (offset["lsn"] == commit and offset.get("messageType") not in _CHANGES):
        return found
    return {"lsn": offset["lsn"], **found}


def _offset(document: Any) -> Any:
    """The one offset of an answer of Connect's, or what was given."""
    if isinstance(document, dict) and isinstance(document.get("offsets"), list):
        (document,) = document["offsets"] if len(document["offsets"]) == 1 else (None,)
        return document.get("offset") if isinstance(document, dict) else None
    return document
