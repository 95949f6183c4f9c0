"""Which captured tables have events, without a server."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cdc.config import parse
from cdc.errors import Gap
from connectors.postgres_wal import capture, catalog
from connectors.postgres_wal.capture import Capture
from connectors.postgres_wal.ledger import Ledger
from connectors.postgres_wal.settings import PostgresWalSettings

YAML = """
name: shop
kafka: {bootstrap_servers: "localhost:9092"}
databases: {warehouse: {url: "postgresql://localhost/w"}}
connectors: {w: {type: postgres_wal, database: warehouse, tables: {public.t: {where: id > 9}}}}
"""

Made = Callable[[Ledger, bool], Capture]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Makes the capture of one table, whose rows can be told by their key or not."""
    settings = parse(YAML, {})
    section = settings.connectors["w"]
    assert isinstance(section, PostgresWalSettings)
    table = catalog.Table(1, "public", "t", "f", ("id",), (), 0, section.tables["public.t"])
    session: Any = None

    def make(ledger: Ledger, by_key: bool) -> Capture:
        planned = SimpleNamespace(full_name="public.t", by_key=by_key)
        monkeypatch.setattr(capture, "Planner", lambda *_: SimpleNamespace(plan_all=lambda tables: [planned]))
        monkeypatch.setattr(capture, "check_publication", lambda *_: None)
        monkeypatch.setattr(catalog, "captured_tables", lambda *_: [table])
        monkeypatch.setattr(catalog, "check_readable", lambda *_: None)
        return Capture(settings, "w", section, session, "publication", ledger, "connector w")

    return make


def test_another_filter_is_a_gap_where_the_stream_has_events_before_the_snapshot_begins(made: Made) -> None:
    ledger = Ledger()
    ledger.expect(["public.t"])
    ledger.note_filters({"public.t": "id > 5"})
    made(ledger, False).check(16)
    with pytest.raises(Gap, match=r"public\.t has another `where`"):
        made(ledger, True).check(16)
