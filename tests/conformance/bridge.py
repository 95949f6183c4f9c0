"""The bridge under a case: connector, publisher and loop of `cdc run`, in a thread. Touches source and Kafka."""

from __future__ import annotations

from threading import Thread
from time import monotonic, sleep
from typing import Any

from cdc.errors import CdcError
from cdc.pipeline import run_connector
from cdc.plugins import connector_plugins
from cdc.publisher import Publisher
from cdc.settings import Settings

SECONDS = 30.0


class NotReached(Exception):
    """The bridge ended, or did not get where it should within `SECONDS`."""


class Bridge:
    """One connector, started and stopped in order as often as a case wants.

    Args:
        settings: with that one connector.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        (self._name,) = settings.connectors
        self._failure: BaseException | None = None
        self._stopping = False

    @property
    def slot(self) -> str:
        return str(self._connector.status()["slot"])

    def start(self) -> None:
        """Start, and wait until the snapshot is over and it streams."""
        self._stopping = False
        section = self._settings.connectors[self._name]
        self._connector = connector_plugins()[section.type].create(self._settings, self._name, section)
        self._thread = Thread(target=self._run, name="bridge", daemon=True)
        self._thread.start()
        self.wait(self._streams, "streams")

    def stop(self) -> None:
        """Stop in order."""
        self._stopping = True
        self._connector.stop()
        self._thread.join(SECONDS)

    def wait(self, fact: Any, words: str) -> None:
        """Wait for a fact.

        Raises:
            NotReached: it did not come; `words` say what it is.
        """
        deadline = monotonic() + SECONDS
        while not fact():
            if not self._thread.is_alive() and not fact():
                raise NotReached(f"the bridge ended before it {words}") from self._failure
            if monotonic() > deadline:
                raise NotReached(f"not within {SECONDS:g} s: it {words}; {self._connector.status()}")
            sleep(0.005)

    def _streams(self) -> bool:
        status = self._connector.status()
        return bool(status["state"] == "streaming" and status["position"] and status["snapshot"] is None)

    def _run(self) -> None:
        try:
            run_connector(self._connector, Publisher(self._settings, self._name))
        except (CdcError, Exception) as error:
            self._failure = error
