"""What is volatile in events, replaced; all else stays as it is spelled. Pure.

Both connectors read the same WAL, so that positions, transactions and times of commits must be equal as they are. Left
is what each does at a time or place of its own:

- when an event was processed (`ts_ms` and its kin in the envelope and in events without a source);
- the position, transaction and time of a snapshot;
- the commit before a transaction (`sequence`), where that one was read by one of the two alone;
- the version, and the identifier of the run.

Values are never touched: in the text of an event their quotes are escaped, those of members are not.
"""

from __future__ import annotations

import re
from typing import Final

_VERSION: Final = re.compile(r'("source":\{"version":)"[^"]*"')
_SNAPSHOT: Final = re.compile(
    r'("ts_ms":)\d+(,"snapshot":"(?!false)\w+","db":"\w+","sequence":)"[^,]*,[^,]*"(,"ts_us":)\d+(,"ts_ns":)\d+'
    r'(,"schema":"(?:[^"\\]|\\.)*","table":"(?:[^"\\]|\\.)*","txId":)\d+(,"lsn":)\d+'
)
_ENVELOPE: Final = re.compile(r'("op":"\w","ts_ms":)(\d+)(,"ts_us":)(\d+)(,"ts_ns":)(\d+)')
_TRANSACTION: Final = re.compile(r'("event_count":(?:null|\d+),"data_collections":(?:null|\[.*\]),"ts_ms":)\d+')
_COLLECTIONS: Final = re.compile(r'"data_collections":\[(\{.*\})\]')
_LAST_COMMIT: Final = re.compile(r'("sequence":"\[)[^,]*(,)')


def normal(text: str | None) -> str | None:
    """A key or value with what is volatile replaced."""
    if text is None:
        return None
    text = _VERSION.sub(r'\1"…"', text)
    text = _SNAPSHOT.sub(r"\1…\2…\3…\4…\5…\6…", text)
    text = _ENVELOPE.sub(_times, text)
    text = _TRANSACTION.sub(r"\1…", text)
    text = _COLLECTIONS.sub(_sorted, text)
    return _LAST_COMMIT.sub(r"\1…\2", text)


def _times(found: re.Match[str]) -> str:
    """Three that must agree."""
    ms, us, ns = (int(found[group]) for group in (2, 4, 6))
    agree = us // 1000 == ms and ns // 1000 == us
    return f"{found[1]}…{found[3]}…{found[5]}{'…' if agree else 'disagree'}"


def _sorted(found: re.Match[str]) -> str:
    """Debezium's order is that of a Java hash map."""
    return f'"data_collections":[{",".join(sorted(found[1].replace("},{", "}|{").split("|")))}]'


def normal_header(name: str, value: str | None) -> str | None:
    """A header's value; the run's identifier is any."""
    return "…" if name == "__debezium.context.runId" else value
