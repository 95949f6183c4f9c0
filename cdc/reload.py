"""Notices that the YAML changed while the bridge runs, and loads it. Touches those files, and a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from cdc.config import Texts, from_texts, read
from cdc.errors import CdcError, ConfigError
from cdc.settings import Settings

LOOK_SECONDS = 1.0

_log = structlog.get_logger("cdc")


class Reloading:
    """Looks at the files about once a second. What was there twice in a row is loaded: an editor may be writing still.

    Settings that are wrong are told, with all that is wrong in them, and the ones before stay.

    Args:
        path: as for `cdc.config.load`.
        texts: what the bridge runs with now.
        take: called from this thread with settings that are right by themselves; may raise
            CdcError when they are of no use here.
    """

    def __init__(self, path: Path | None, texts: Texts, take: Callable[[Settings, Texts], None]) -> None:
        self._path, self._take = path, take
        self._judged: Texts | str = texts
        self._before: Texts | str = texts
        self._asked = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="settings", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self) -> None:
        """Load at the next look even what did not change: secrets in files may have. From a signal handler too."""
        self._asked = True

    def stop(self) -> None:
        """Look no more; returns when nothing is being loaded."""
        self._ended.set()
        self._thread.join()

    def look(self) -> None:
        """One look at the files."""
        found = self._found()
        asked, self._asked = self._asked, False
        settled, self._before = found == self._before, found
        if asked or (settled and found != self._judged):
            self._judged = found
            self._load(found)

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.look()

    def _found(self) -> Texts | str:
        """What is in the files, or why they cannot be read."""
        try:
            return read(self._path)
        except ConfigError as error:
            return str(error)

    def _load(self, found: Texts | str) -> None:
        try:
            texts = read(self._path) if isinstance(found, str) else found
            self._take(from_texts(texts), texts)
        except CdcError as error:
            problems = error.problems if isinstance(error, ConfigError) else [error.message]
            _log.error(
                "the settings are wrong now; going on with the ones before", problems=[str(each) for each in problems]
            )
