"""What a slot must look like for the stored position to be safe, and the positions themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc.errors import Gap, Refused
from cdc.names import lock_key
from connectors.postgres_wal.position import Origin, WalPosition, from_stored, intent, is_intent
from connectors.postgres_wal.slot import Slot, check_slot

STORED = WalPosition(
    Origin("7000", 1, "slot", "publication", 16), 0x1_0000_0100, 7, whole=False, end_lsn=0x1_0000_0050, last_commit=9
)
SLOT = Slot("pgoutput", "warehouse", None, STORED.end_lsn, "reserved", 0, None)


def test_a_stored_position_is_read_as_it_was_written() -> None:
    assert from_stored(STORED.stored()) == STORED
    assert STORED.stored().order == "00000001/00000100/0000000007"


def test_an_intent_is_no_position() -> None:
    assert is_intent(intent("7000", "slot"))
    assert not is_intent(STORED.stored())


@pytest.mark.parametrize("behind", [0, 1, 0x50])
def test_a_slot_at_or_before_the_stored_position_is_fine(behind: int) -> None:
    check_slot(replace(SLOT, confirmed=STORED.end_lsn - behind), "slot", STORED, STORED.end_lsn, "connector w")


@pytest.mark.parametrize(
    ("slot", "said"),
    [
        (None, "replication slot slot is gone; changes from 1/50 to 1/90 (now) may be missing"),
        (replace(SLOT, confirmed=STORED.end_lsn + 1), "changes from 1/50 to 1/51 are missing"),
        (replace(SLOT, status="lost"), "was invalidated"),
        (replace(SLOT, confirmed=None), "was invalidated"),
    ],
)
def test_a_gap_names_the_slot_and_what_is_missing(slot: Slot | None, said: str) -> None:
    with pytest.raises(Gap) as raised:
        check_slot(slot, "slot", STORED, 0x1_0000_0090, "connector w")
    assert said.replace("(", "").replace(")", "") in str(raised.value).replace("(", "").replace(")", "")


def test_somebody_elses_slot_is_refused() -> None:
    with pytest.raises(Refused, match="test_decoding"):
        check_slot(replace(SLOT, plugin="test_decoding"), "slot", STORED, STORED.end_lsn, "connector w")


def test_a_server_that_was_set_back_is_a_gap() -> None:
    with pytest.raises(Gap, match="behind the stored position 1/50"):
        check_slot(SLOT, "slot", STORED, STORED.end_lsn - 1, "connector w")


def test_the_intent_of_another_cluster_or_slot_is_not_ours() -> None:
    assert intent("7000", "slot") != intent("7001", "slot")
    assert intent("7000", "slot") != intent("7000", "other")


def test_locks_of_different_connectors_differ() -> None:
    assert len({lock_key("a", "bc"), lock_key("ab", "c"), lock_key("a", "b")}) == 3
