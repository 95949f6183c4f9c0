"""What a running worker is asked, and its answers: both ends of the JSON lines between them. Touches threads only.

A question is `{"id": 7, "action": "pause", "tables": []}`, its answer `{"answer": 7, "text": "…"}` or
`{"answer": 7, "error": {…}}`, with an error as `cdc.failures.describe` makes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

import orjson

from cdc.errors import CdcError, Refused
from cdc.failures import describe

ACTIONS = ("snapshot", "pause", "resume", "cancel", "poll")
"""What a connector may be asked."""

LONGEST_LINE = 1024 * 1024

Ask = Callable[[str, Sequence[str]], str]
"""As `Connector.ask`."""


class Question:
    """One question, as the thread that asked waits for its answer."""

    def __init__(self) -> None:
        self._answered = threading.Event()
        self._document: Mapping[str, Any] = {}

    def settle(self, document: Mapping[str, Any]) -> None:
        """`{"answer": TEXT}` or `{"error": {…}}`; the first one holds."""
        if not self._answered.is_set():
            self._document = document
            self._answered.set()

    def refuse(self, error: CdcError) -> None:
        """Settle it with an error of our own."""
        self.settle({"error": describe(error)})

    def wait(self, seconds: float) -> Mapping[str, Any]:
        """The answer; after `seconds` an error that says there is none."""
        if not self._answered.wait(seconds):
            hint = "it may still be done: `cdc status` shows it"
            self.refuse(CdcError(f"no answer within {seconds:g} s", hint=hint))
        return self._document


class Questions:
    """The supervisor's open questions, by the worker that has to answer. For one thread."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Hashable, Question]] = {}
        self._last = 0

    def line(self, worker: Hashable, question: Question, action: str, tables: Sequence[str]) -> bytes:
        """The line that asks `worker`; `question` is settled by what it answers."""
        self._last += 1
        self._open[self._last] = (worker, question)
        return orjson.dumps({"id": self._last, "action": action, "tables": list(tables)}) + b"\n"

    def settle(self, report: Mapping[str, Any]) -> None:
        """Take a worker's answer; one that nobody waits for is dropped."""
        _, question = self._open.pop(report["answer"], (None, None))
        if question is not None:
            question.settle({"error": report["error"]} if report.get("error") else {"answer": report.get("text")})

    def give_up(self, worker: Hashable, why: str) -> None:
        """`worker` answers no more."""
        for number, (asked, question) in list(self._open.items()):
            if asked == worker:
                del self._open[number]
                question.refuse(CdcError(why, hint="ask again when `cdc status` shows that it runs"))


class Answers:
    """The worker's end: takes lines from any thread, answers them one after the other in a thread of its own.

    Args:
        send: writes a report; False when it could not be written and has to be tried again.
    """

    def __init__(self, send: Callable[[Mapping[str, Any]], bool]) -> None:
        self._send = send
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._ask: Ask = _not_yet
        self._before: Callable[[], None] = lambda: None

    def serve(self, ask: Ask, before: Callable[[], None]) -> None:
        """From now on `ask` answers, and `before` is called before each answer is sent."""
        self._ask, self._before = ask, before

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._run, name="answers", daemon=True).start()

    def take(self, line: bytes) -> None:
        """A line from the supervisor; returns at once."""
        self._lines.put(line)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            question = orjson.loads(self._lines.get())
            answer = self._answer(question)
            while not self._send(answer):
                pause.wait(0.05)

    def _answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        try:
            text = self._ask(question["action"], question["tables"])
            self._before()
        except Exception as error:
            return {"answer": question["id"], "error": describe(error)}
        return {"answer": question["id"], "text": text}


def _not_yet(action: str, tables: Sequence[str]) -> str:
    raise Refused("the worker is only starting, or takes no commands", hint="ask again in a moment")
