"""`python -m tests.fuzz --inputs 10000000 --seed 1` (`make fuzz`): damaged messages, rows and events by the million.

With CDC_INTERPRETED=1 the sources run instead of what was compiled.
"""

from __future__ import annotations

import argparse
import sys

from cdc.compiled import summary
from tests.fuzz.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many (default: a million)")
    parser.add_argument("--seed", type=int, default=1, help="of everything: the same seed, the same inputs")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.inputs:,} inputs; {summary()}", flush=True)
    result = run(given.inputs, given.seed, given.processes)
    for failure in result.failures:
        print(failure)
    print(
        f"{result.inputs:,} inputs in {result.seconds:.0f} s ({result.inputs / result.seconds:,.0f}/s), "
        f"{result.taken:,} taken, {len(result.failures)} failed"
    )
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
