"""What is remembered of tables: whose rows are published, and how."""

from __future__ import annotations

from connectors.postgres_wal.catalog import Publication
from connectors.postgres_wal.ledger import Ledger

PUBLICATION = Publication(16, {("public", "a"): "1/2/x", ("public", "b"): "3/4/y"}, True, frozenset())


def test_it_is_read_as_it_was_written() -> None:
    ledger = Ledger()
    ledger.mark({"public.a"}, "done", PUBLICATION)
    ledger.mark({"public.b"}, "pending", PUBLICATION)
    again = Ledger(ledger.as_json())
    assert again.done() == {"public.a"}
    assert again.published("public.a") == "1/2/x"
    assert again.published("public.b") is None


def test_a_table_that_was_not_captured_for_a_while_is_read_again() -> None:
    ledger = Ledger()
    ledger.mark({"public.a", "public.b"}, "done", PUBLICATION)
    assert ledger.keep({"public.a"})
    assert not ledger.keep({"public.a", "public.b"})
    assert ledger.done() == {"public.a"}


def test_what_was_stored_does_not_change_with_it() -> None:
    ledger = Ledger()
    ledger.mark({"public.a"}, "pending", PUBLICATION)
    stored = ledger.as_json()
    ledger.mark({"public.a"}, "done", PUBLICATION)
    assert Ledger(stored).done() == set()
