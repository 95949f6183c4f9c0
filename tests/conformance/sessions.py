"""The sessions of a case, and its steps that are SQL. Connects to PostgreSQL."""

from __future__ import annotations

from typing import Any

import psycopg


class Sessions:
    """Sessions by name, each made when it is first used; `a` is the one of steps that name none.

    Args:
        url: of the database.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: dict[str, psycopg.Connection[Any]] = {}

    def run(self, step: Any) -> None:
        """SQL, SQL that must fail, or a COPY.

        Raises:
            AssertionError: it did not fail, or the step is of no known kind.
            psycopg.Error: it failed.
        """
        if isinstance(step, str):
            step = {"sql": step}
        session = self.session(step.get("session", "a"))
        if "copy" in step:
            with session.cursor().copy(step["copy"].encode()) as copy:
                copy.write("".join(f"{row}\n" for row in step["rows"]))
            return
        expected = step.get("expect_error")
        try:
            session.execute(step["sql"].encode())
        except psycopg.Error as error:
            if error.sqlstate != expected:
                raise
        else:
            assert expected is None, f"{step['sql']} did not fail with {expected}"

    def session(self, name: str = "a") -> psycopg.Connection[Any]:
        """A session in autocommit; statements go by the simple protocol."""
        if name not in self._open:
            self._open[name] = psycopg.connect(self._url, autocommit=True, prepare_threshold=None)
        return self._open[name]

    def close(self) -> None:
        """End all; what is open is rolled back."""
        for session in self._open.values():
            session.close()
        self._open.clear()
