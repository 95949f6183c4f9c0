"""Many rounds in processes of their own, each watched: a crash, a loop or a gigabyte is told with its input.

A loop in compiled code holds the interpreter's lock, so it is `faulthandler`'s own thread that ends the process; what
was being fed is in memory that the parent shares.
"""

from __future__ import annotations

import faulthandler
import mmap
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Protocol

from tests.fuzz.feed import INPUTS, Fuzz

SECONDS: Final = 20
"""Longest round; a usual one takes a hundredth of that, interpreted too."""

MEMORY: Final = 2 << 30
"""Address space of a process."""

_ROOM: Final = 1 << 20


class Rounds(Protocol):
    """What is run: `Fuzz`, or a test's stand-in."""

    taken: int

    def round(self, number: int) -> Iterator[bytes]: ...


@dataclass
class Result:
    """What came of it.

    Args:
        inputs: fed, and how many of them were taken although damaged.
        seconds: that it took.
        failures: what went wrong, in words, with the input.
    """

    inputs: int = 0
    taken: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def run(
    inputs: int, seed: int, processes: int, *, make: Callable[[int], Rounds] = Fuzz, seconds: float = SECONDS
) -> Result:
    """Feed so many inputs, each process every so many-th round.

    Args:
        inputs: at least so many.
        seed: of everything.
        processes: at work at the same time.
        make: the rounds, from the seed; it must be importable.
        seconds: longest round.
    """
    rounds = -(-inputs // INPUTS)
    start = time.monotonic()
    result = Result()
    with tempfile.TemporaryDirectory() as folder:
        context = get_context("spawn")
        workers = []
        for number in range(processes):
            file = Path(folder, str(number))
            file.write_bytes(bytes(_ROOM))
            worker = context.Process(target=_work, args=(file, seed, range(number, rounds, processes), make, seconds))
            worker.start()
            workers.append((worker, file))
        for worker, file in workers:
            worker.join()
            said = file.read_bytes()
            fed, taken, round_, size = (int.from_bytes(said[place : place + 8]) for place in range(0, 32, 8))
            result.inputs += fed
            result.taken += taken
            if worker.exitcode:
                words = file.with_suffix(".error").read_text(errors="replace").strip()
                result.failures.append(
                    f"seed {seed}, round {round_}: the process ended with {worker.exitcode}\n{words}\n"
                    f"input (of {size} bytes): {said[32 : 32 + min(size, 2000)].hex()}"
                )
    result.seconds = time.monotonic() - start
    return result


def _work(file: Path, seed: int, rounds: range, make: Callable[[int], Rounds], seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with file.open("r+b") as opened, file.with_suffix(".error").open("w") as errors:
        shared = mmap.mmap(opened.fileno(), _ROOM)
        faulthandler.enable(errors)
        try:
            fuzz = make(seed)
            fed = 0
            for number in rounds:
                faulthandler.dump_traceback_later(seconds, exit=True, file=errors)
                for data in fuzz.round(number):
                    fed += 1
                    shared[:32] = b"".join(part.to_bytes(8) for part in (fed, fuzz.taken, number, len(data)))
                    kept = data[: _ROOM - 32]
                    shared[32 : 32 + len(kept)] = kept
        except BaseException:
            traceback.print_exc(file=errors)
            errors.flush()
            sys.exit(1)
        finally:
            faulthandler.cancel_dump_traceback_later()
