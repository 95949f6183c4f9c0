"""The slot between the reader's thread and the worker's."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from cdc.event import Batch
from cdc.position import Position
from connectors.postgres_wal.mailbox import Mailbox


def batch(order: str) -> Batch:
    return Batch([], Position(order))


def hand_over(one: Batch) -> Mailbox:
    """A mailbox whose reader offers the batch as soon as it is woken, and then ends."""
    mailbox: Mailbox

    def read() -> None:
        while not mailbox.offer(one):
            woken.wait()
        mailbox.end()

    woken = Event()
    mailbox = Mailbox(woken.set)
    Thread(target=read).start()
    return mailbox


def test_a_batch_is_handed_over_when_the_worker_asks_and_not_before() -> None:
    assert not Mailbox(lambda: None).offer(batch("1"))
    taken = hand_over(batch("1")).take()
    assert taken is not None
    assert taken.position.order == "1"


def test_a_waiting_worker_gets_what_the_reader_failed_with() -> None:
    mailbox = Mailbox(lambda: None)
    Thread(target=mailbox.end, args=(ValueError("lost"),)).start()
    with pytest.raises(ValueError, match="lost"):
        mailbox.take()


def test_what_was_handed_over_before_the_end_is_still_taken() -> None:
    mailbox = hand_over(batch("1"))
    assert mailbox.take() is not None
    assert mailbox.take() is None
