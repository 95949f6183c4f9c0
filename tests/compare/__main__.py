"""`python -m tests.compare --tables 2000 --seed 1` (`make compare`): random tables through Debezium and the bridge."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from time import monotonic

from cdc import logs
from cdc.testing.servers import PostgresServer
from tests.compare.run import TABLES, batch, compare
from tests.conformance.play import SERVER


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compare", description=__doc__)
    parser.add_argument("--tables", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1, help="of everything: the same seed, the same tables")
    parser.add_argument("--first", type=int, default=0, help="number of the first batch")
    parser.add_argument("--shown", type=int, default=10, help="differences that are printed")
    given = parser.parse_args()
    last = given.first - (-given.tables // TABLES)
    began = monotonic()
    batches = (batch(given.seed, number) for number in range(given.first, last))
    with (
        tempfile.TemporaryDirectory() as folder,
        PostgresServer(settings=SERVER) as server,
        Path(folder, "bridge.log").open("w") as log,
    ):
        logs.configure(stream=log)
        result = compare(batches, server, Path(folder))
    for difference in result.differences[: given.shown]:
        print(difference, end="\n\n")
    print(
        f"seed {given.seed}: {result.tables} tables, {result.events} events in {monotonic() - began:.0f} s; "
        f"{len(result.differences)} topics differ; {result.failed_statements} statements were refused"
    )
    return 1 if result.differences else 0


if __name__ == "__main__":
    sys.exit(main())
