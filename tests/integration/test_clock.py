"""A moved clock is moved for everything that a process asks of it, and for no wait."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from cdc.testing.clock import Clock, no_clock

pytestmark = pytest.mark.skipif(no_clock() is not None, reason=str(no_clock()))

HOUR = 3600

TELLS = """
import sys, threading, time
from datetime import datetime
for _ in sys.stdin:
    began = time.monotonic()
    threading.Event().wait(0.2)
    print(time.time(), datetime.now().timestamp(), time.monotonic() - began, flush=True)
"""

WAITS = """
import sys, time
from confluent_kafka import Consumer
consumer = Consumer({"bootstrap.servers": "127.0.0.1:9", "group.id": "none", "log_level": 0})
for _ in sys.stdin:
    began = time.monotonic()
    consumer.poll(0.2)
    print(time.monotonic() - began, flush=True)
"""


@contextmanager
def asked(program: str, clock: Clock) -> Iterator[tuple[IO[str], IO[str]]]:
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **clock.environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdin, process.stdout
        process.stdin.close()


def ask(pipes: tuple[IO[str], IO[str]]) -> list[float]:
    pipes[0].write("\n")
    pipes[0].flush()
    return [float(part) for part in pipes[1].readline().split()]


def test_it_moves_while_a_process_runs_both_ways_and_back() -> None:
    with Clock() as clock, asked(TELLS, clock) as process:
        for offset in (0, HOUR, -HOUR, 0):
            clock.move(offset)
            seconds, now, waited = ask(process)
            assert seconds - time.time() == pytest.approx(offset, abs=5)
            assert now - time.time() == pytest.approx(offset, abs=5)
            assert 0.2 <= waited < 5


def test_waits_inside_librdkafka_stay_as_long_as_they_are() -> None:
    with Clock() as clock, asked(WAITS, clock) as process:
        for offset in (HOUR, -HOUR):
            clock.move(offset)
            [waited] = ask(process)
            assert 0.19 <= waited < 5
