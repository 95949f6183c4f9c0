"""The bank's view of the topics: sums at transaction boundaries, and a counter for each account. Pure.

Sessions move money between the rows of `vault`, so that their sum is always the same, and
count each row's moves. What holds in the table after each commit must hold for a reader of
the topic after each transaction: no transaction may be torn, and no move left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from cdc.prove.observed import Event


def torn(events: Sequence[Event]) -> Iterator[str]:
    """Transactions after which the accounts' sum is not what it was before them.

    Args:
        events: of the table, each partition in order; deletes are none.
    """
    whole = max((event.position or "" for event in events if event.op == "r"), default="")
    accounts = {account for event in events for account in _account(event, "balance")}
    balances: dict[int, int] = {}
    expected: int | None = None
    for boundary, together in groupby(sorted(events, key=_position), key=_commit):
        for event in together:
            balances.update(_account(event, "balance"))
        if boundary < whole[: len(boundary)] or len(balances) < len(accounts):
            # Rows are still to come: those read later, and those left out as they had changed since.
            continue
        total = sum(balances.values())
        if expected is None:
            expected = total
        elif total != expected:
            yield f"vault: the sum is {total} after the transaction at {boundary}, and was {expected}"


def miscounted(events: Iterable[Event]) -> Iterator[str]:
    """Accounts whose counter did not go up by one with each event.

    Args:
        events: of the table, each partition in order.
    """
    counters: dict[int, int] = {}
    for event in events:
        for account, count in _account(event, "moves").items():
            before = counters.get(account)
            right = before is None or count - before in ((0, 1) if event.op == "r" else (1,))
            if not right:
                yield f"vault: account {account} has {count} moves after {before}"
            counters[account] = count


def _account(event: Event, column: str) -> dict[int, int]:
    after = event.value["after"] if event.value else None
    return {after["id"]: after[column]} if after else {}


def _position(event: Event) -> str:
    return event.position or ""


def _commit(event: Event) -> str:
    return _position(event).rpartition("/")[0]
