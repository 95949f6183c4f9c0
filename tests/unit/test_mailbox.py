"""The slot between the reader's thread and the worker's."""

from __future__ import annotations

from threading import Thread

import pytest

from cdc.event import Batch
from cdc.position import Position
from connectors.postgres_wal.mailbox import Mailbox


def batch(order: str) -> Batch:
    return Batch([], Position(order))


def test_it_holds_one_batch() -> None:
    mailbox = Mailbox(lambda: None)
    assert mailbox.offer(batch("1"))
    assert not mailbox.offer(batch("2"))
    taken = mailbox.take()
    assert taken is not None
    assert taken.position.order == "1"
    assert mailbox.offer(batch("2"))


def test_a_waiting_worker_gets_what_the_reader_failed_with() -> None:
    mailbox = Mailbox(lambda: None)
    Thread(target=mailbox.end, args=(ValueError("lost"),)).start()
    with pytest.raises(ValueError, match="lost"):
        mailbox.take()


def test_what_was_offered_before_the_end_is_still_taken() -> None:
    mailbox = Mailbox(lambda: None)
    mailbox.offer(batch("1"))
    mailbox.end()
    assert mailbox.take() is not None
    assert mailbox.take() is None


def test_the_reader_is_woken_when_a_batch_is_wanted_and_when_it_is_taken() -> None:
    woken: list[bool] = []
    mailbox = Mailbox(lambda: woken.append(mailbox.wanted))
    mailbox.offer(batch("1"))
    mailbox.take()
    assert woken == [True, False]
