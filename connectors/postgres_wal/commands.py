"""What an operator asks of a running connector: taken from any thread, obeyed in the reader's. Pure threading.

What was asked for is answered when the ledger that says so is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future
from queue import SimpleQueue

from cdc.errors import Refused
from cdc.patterns import matching

from .ledger import Ledger

ANSWER_SECONDS = 10.0
"""How long a command may take to be stored before that is said to be still to come."""


class Commands:
    """The commands of one connector.

    Args:
        ledger: what they change.
        captured: full names of the captured tables.
        changed: called in the reader's thread when the ledger was changed.
        stored: the ledger's revision that is stored.
        healing: whether a heal reads the tables now.
        subject: what to call the connector in errors.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        captured: Callable[[], Set[str]],
        changed: Callable[[], None],
        stored: Callable[[], int],
        healing: Callable[[], bool],
        subject: str,
    ) -> None:
        self._ledger = ledger
        self._captured = captured
        self._changed = changed
        self._stored = stored
        self._healing = healing
        self._subject = subject
        self._asked: SimpleQueue[tuple[str, Sequence[str], Future[str]]] = SimpleQueue()

    def ask(self, action: str, tables: Sequence[str], wake: Callable[[], None]) -> str:
        """See `Connector.ask`.

        Args:
            wake: lets the reader's thread look at once.
        Raises: Refused.
        """
        answer: Future[str] = Future()
        self._asked.put((action, tables, answer))
        wake()
        try:
            said = answer.result(ANSWER_SECONDS)
        except TimeoutError:
            raise Refused(f"{self._subject} does not answer; ask again") from None
        wanted = self._ledger.revision
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._stored() < wanted:
            if time.monotonic() > deadline:
                return f"{said} (not stored yet: it is lost if the connector ends before Kafka answers)"
            time.sleep(0.02)
        return said

    def obey(self) -> None:
        """Do what was asked for, in the reader's thread."""
        while not self._asked.empty():
            action, tables, answer = self._asked.get()
            try:
                answer.set_result(self._obey(action, tables))
            except Refused as refusal:
                answer.set_exception(refusal)

    def _obey(self, action: str, tables: Sequence[str]) -> str:
        ledger = self._ledger
        if action == "snapshot":
            said = self._repeat(tables)
        elif action in ("pause", "resume"):
            ledger.pause(action == "pause")
            said = "snapshots are paused" if action == "pause" else "snapshots go on"
        elif action == "cancel":
            said = self._cancel()
        elif action == "poll":
            raise Refused(
                f"{self._subject} does not poll: it reads every change as it is committed",
                hint="`cdc snapshot` reads tables again",
            )
        else:
            raise Refused(f"{self._subject}: there is no command {action}")
        self._changed()
        return said

    def _repeat(self, wanted: Sequence[str]) -> str:
        if self._healing():
            raise Refused(f"{self._subject} is being healed, which reads all its tables; ask again when that is done")
        captured = self._captured()
        chosen = {name for name in captured if not wanted or matching(wanted, name)}
        missing = [entry for entry in wanted if not any(matching([entry], name) for name in captured)]
        if missing:
            raise Refused(
                f"{self._subject} captures no table {', '.join(missing)}",
                hint=f"it captures {', '.join(sorted(captured)[:20])}",
            )
        busy = chosen & self._ledger.unfinished()
        self._ledger.repeat(chosen - busy)
        said = f"to be read again: {', '.join(sorted(chosen - busy))}" if chosen - busy else ""
        also = f"being read already: {', '.join(sorted(busy))}" if busy else ""
        return "; ".join(part for part in (said, also) if part)

    def _cancel(self) -> str:
        cancelled = self._ledger.again()
        if not cancelled:
            raise Refused(
                f"{self._subject}: no table is being read again",
                hint="rows that were never read are still wanted; pause them, or take the table out of `tables:`",
            )
        self._ledger.cancel()
        return f"not read again: {', '.join(sorted(cancelled))}"
