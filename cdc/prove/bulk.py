"""Tables of millions of rows, judged by a digest of each row instead of the row itself. Pure.

Rows are only inserted, their ids 1, 2, 3 …; eight bytes are kept of each.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from hashlib import blake2b

from cdc.prove.observed import Event

_ROW = re.compile(r"table \S+ INSERT: id\[bigint\]:(\d+) what\[text\]:'(.*)'$", re.DOTALL)


class Bulk:
    """What was committed, and what is on the topic."""

    def __init__(self) -> None:
        self._committed = array("Q")
        self._seen = array("B")
        self._faults: list[tuple[str, str]] = []
        self._reached: dict[int, str] = {}
        self.events = 0

    def committed(self, xid: int, line: str) -> None:
        """Take an INSERT as `test_decoding` writes it; before the first `event`."""
        found = _ROW.match(line)
        assert found is not None, line[:80]
        number, digest = int(found[1]), _digest(xid, found[2].replace("''", "'"))
        self._committed.extend([0] * (number + 1 - len(self._committed)))
        self._committed[number] = digest

    def event(self, event: Event) -> None:
        """Take an event of the topic, each partition in order; all that was committed is known."""
        self.events += 1
        position = event.position or ""
        if position < self._reached.get(event.partition, ""):
            self._faults.append(("disordered", f"bulk: {position} in partition {event.partition}"))
        self._reached[event.partition] = position
        self._seen.extend([0] * (len(self._committed) - len(self._seen)))
        number = int((event.key or {}).get("id", 0))
        if not 0 < number < len(self._committed) or not self._committed[number] or event.value is None:
            self._faults.append(("phantom", f"bulk: {number}"))
            return
        if self._seen[number]:
            self._faults.append(("twice", f"bulk: {number}"))
        self._seen[number] = 1
        what = (event.value["after"] or {}).get("what", "")
        if event.op != "c" or _digest(event.value["source"]["txId"], what) != self._committed[number]:
            self._faults.append(("altered", f"bulk: {number}"))

    def faults(self) -> Iterator[tuple[str, str]]:
        """Kind and words of everything that is wrong."""
        yield from self._faults
        for number, digest in enumerate(self._committed):
            if digest and (number >= len(self._seen) or not self._seen[number]):
                yield "lost", f"bulk: {number}"


def _digest(xid: int, what: str) -> int:
    """Never 0, which stands for a row that is not there."""
    return int.from_bytes(blake2b(f"{xid} {what}".encode(), digest_size=8).digest()) | 1
