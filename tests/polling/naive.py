"""Two classic pollers: what most services do, and what they lose. Touches Postgres."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from tests.polling.tables import LOG

EVERY_SECONDS = 0.2

Row = Mapping[str, Any]


class Naive:
    """Polls `items_at` by `updated_at > last` and the log by `id > last`, each `last` the largest seen.

    Args:
        url: of the database.

    Attributes:
        rows: of `items_at`, by id, as last seen.
        ids: of the log, all that were seen.
        polls: how often.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.rows: dict[int, Row] = {}
        self.ids: set[int] = set()
        self.polls = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def finish(self) -> None:
        """Poll once more behind all that is committed by now, and end. Raises what it failed with."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def lost_rows(self, final: Mapping[int, Row]) -> set[int]:
        """Ids of rows whose last state was not seen."""
        return {key for key, row in final.items() if self.rows.get(key) != row}

    def lost_ids(self, final: Mapping[int, Row]) -> set[int]:
        """Ids of the log that were never seen."""
        return final.keys() - self.ids

    def _run(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True, row_factory=dict_row) as connection:
                last_at: Any = "-infinity"
                last_id = 0
                ended = False
                while not ended:
                    ended = self._stop.wait(EVERY_SECONDS)
                    query = "SELECT * FROM items_at WHERE updated_at > %s::timestamptz ORDER BY updated_at"
                    for row in connection.execute(query, [last_at]):
                        self.rows[row["id"]] = row
                        last_at = row["updated_at"]
                    for row in connection.execute(f"SELECT id FROM {LOG} WHERE id > %s ORDER BY id", [last_id]):
                        self.ids.add(row["id"])
                        last_id = row["id"]
                    self.polls += 1
        except BaseException as error:
            self._failure = error
