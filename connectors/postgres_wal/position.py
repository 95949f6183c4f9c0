"""Positions in the WAL: the commit's LSN and the row's ordinal, never an LSN alone. Pure.

Rows of one COPY share an LSN, and rows of a long transaction carry LSNs below positions that
were confirmed long ago. The server skips transactions by the start of their commit record
and is confirmed by its end, so both are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cdc.formats.debezium_json import generation_of
from cdc.position import Position

from .pgoutput import lsn_text, parse_lsn, position_text

EVERY_ROW = 1 << 62
"""More rows than a transaction has."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a position belongs to; positions of different origins cannot be compared.

    Args:
        system: the server's system identifier (pg_upgrade and restores of a dump change it).
        timeline: a promotion changes it.
        slot: name of the replication slot.
        publication, publication_oid: a re-created publication has another OID.
        generation: how often a heal had to begin positions anew.
    """

    system: str
    timeline: int
    slot: str
    publication: str
    publication_oid: int
    generation: int = 0


@dataclass(frozen=True, slots=True)
class WalPosition:
    """Everything up to and with row `ordinal` of the transaction at `commit_lsn` is delivered.

    Args:
        origin: what it belongs to.
        commit_lsn: start of the commit record of the transaction reached last.
        ordinal: row messages of it that are delivered, counted before any filter of ours.
        messages: logical messages of it behind that row that are; counted before any filter too (but those that
            `ddl.separates`), but apart, so that rows have the same ordinals whether messages are sent or not.
        whole: whether that was all of it.
        end_lsn: what the server may be confirmed: the end of the last whole transaction, or
            an idle server's position.
        last_commit: where the commit record of the whole transaction reached last ended, or the message
            outside of transactions (Debezium's `lastCommitLsn`); 0 for none.
        counted: events of a transaction that is not whole by table, once its begin was told
            (`transaction_metadata`).

    A logical message outside of transactions is a whole transaction of one row whose commit record would
    begin one byte before the message ended: no real one does, as records begin at multiples of eight. So the
    order of the log holds for both. The server sends such a message again when its record begins at or
    behind the LSN that the stream was started from; what it sends again up to the position is passed over.
    """

    origin: Origin
    commit_lsn: int
    ordinal: int
    whole: bool
    end_lsn: int
    last_commit: int = 0
    messages: int = 0
    counted: Mapping[str, int] | None = None

    def within(self, commit_lsn: int) -> bool:
        """Whether it is in the middle of the transaction whose commit record begins there."""
        return commit_lsn == self.commit_lsn and not self.whole

    def delivered(self, commit_lsn: int) -> tuple[int, int]:
        """Of that transaction: rows that are delivered, and messages behind the last of them."""
        if self.within(commit_lsn):
            return self.ordinal, self.messages
        return (0 if commit_lsn > self.commit_lsn else EVERY_ROW), 0

    def ended(self, commit_lsn: int, ordinal: int, end: int) -> WalPosition:
        """The place behind a transaction; `end` is where its commit record ends."""
        return replace(
            self, commit_lsn=commit_lsn, ordinal=ordinal, messages=0, whole=True, last_commit=end, counted=None
        )

    def holds(self, message_end: int) -> bool:
        """Whether a message outside of transactions, which ended there, is delivered."""
        begin = message_end - 1
        return begin < self.commit_lsn or (begin == self.commit_lsn and self.whole)

    def behind(self, message_end: int) -> WalPosition:
        """The place behind such a message."""
        return replace(
            self,
            commit_lsn=message_end - 1,
            ordinal=1,
            messages=0,
            whole=True,
            end_lsn=max(self.end_lsn, message_end),
            last_commit=message_end,
            counted=None,
        )

    def stored(self, ledger: Mapping[str, Any] | None = None) -> Position:
        """This position as the core stores it."""
        return Position(
            order=position_text(self.commit_lsn, self.ordinal, self.origin.generation),
            state={
                "phase": "streaming",
                "system": self.origin.system,
                "timeline": self.origin.timeline,
                "slot": self.origin.slot,
                "publication": self.origin.publication,
                "publication_oid": self.origin.publication_oid,
                "generation": self.origin.generation,
                "commit_lsn": lsn_text(self.commit_lsn),
                "ordinal": self.ordinal,
                "whole": self.whole,
                "end_lsn": lsn_text(self.end_lsn),
                "committed": lsn_text(self.last_commit),
                **({"messages": self.messages} if self.messages else {}),
                **({"counted": self.counted} if self.counted is not None else {}),
            },
            ledger=ledger,
        )

    def at(self, origin: Origin) -> WalPosition:
        """The same place, as the origin is called now (a timeline that was gone along with)."""
        return replace(self, origin=origin)


def from_stored(position: Position) -> WalPosition:
    """Read what `stored` wrote. Raises: KeyError, ValueError when it did not."""
    state = position.state
    # Earlier versions knew the beginning of the last commit only.
    before = state["commit_lsn"] if state["whole"] else state.get("last_commit", "0/0")
    return WalPosition(
        origin=Origin(
            system=state["system"],
            timeline=state["timeline"],
            slot=state["slot"],
            publication=state["publication"],
            publication_oid=state["publication_oid"],
            generation=state.get("generation", 0),
        ),
        commit_lsn=parse_lsn(state["commit_lsn"]),
        ordinal=state["ordinal"],
        whole=state["whole"],
        end_lsn=parse_lsn(state["end_lsn"]),
        last_commit=parse_lsn(state.get("committed", before)),
        messages=state.get("messages", 0),
        counted=state.get("counted"),
    )


def intent(system: str, slot: str) -> Position:
    """What is stored before the slot is made: if it is found alone, the start was not finished."""
    return Position(order="", state={"phase": "intent", "system": system, "slot": slot})


def is_intent(position: Position) -> bool:
    """Whether a first start was begun and not finished."""
    return bool(position.state.get("phase") == "intent")


def healing(stored: Position | None) -> Position:
    """What is stored so that the next start makes a new slot, and mends the topics by difference.

    It begins another generation: whatever the LSNs of the server are, what comes is newer.

    Args:
        stored: where it stood; where nothing is stored any more, the newest position that is known.
    """
    order = stored.order if stored is not None else ""
    generation = generation_of(order)
    return Position(order=order, state={"phase": "healing", "generation": generation + 1 if order else 0})


def is_healing(position: Position) -> bool:
    """Whether a heal was asked for and has made no slot yet."""
    return bool(position.state.get("phase") == "healing")
