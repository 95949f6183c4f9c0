"""Runs cases of conformance with Debezium through the bridge, and compares what it published with the golden files.

    python -m tests.conformance CASES OUT [--golden GOLDEN] [--only NAME,NAME] [--jobs N]

Each case runs on a PostgreSQL server that no other case uses meanwhile and on a broker of its own, with the settings
that `cdc import-debezium` makes of its connector's. OUT/<case>.json and OUT/<case>.schemas.json get what is on the
topics in the end. The comparer is the `compare.py` beside the golden files; its last line is the last one here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

from cdc import logs
from cdc.testing.servers import PostgresServer
from tests.conformance.cases import Case, read_cases
from tests.conformance.play import SERVER, play, write


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path, help="folder of cases")
    parser.add_argument("out", type=Path, help="folder for what was published; made if it is missing")
    parser.add_argument("--golden", type=Path, help="folder of the golden files")
    parser.add_argument("--only", default="", help="names of cases, separated by commas")
    parser.add_argument("--jobs", type=int, default=4, help="cases that run beside each other")
    chosen = parser.parse_args()
    cases = read_cases(chosen.cases, [name for name in chosen.only.split(",") if name])
    chosen.out.mkdir(parents=True, exist_ok=True)
    began = monotonic()
    with (chosen.out / "bridge.log").open("w") as log:
        logs.configure(stream=log)
        failed = run_all(cases, chosen.out, chosen.jobs)
    print(f"{len(cases)} cases in {monotonic() - began:.0f} s; {failed} runs failed; what was published: {chosen.out}")
    if chosen.golden is None:
        print("nothing was compared: give the folder of golden files")
        return 1
    return compare(cases, chosen.golden, chosen.cases, chosen.out, some=bool(chosen.only))


def run_all(cases: list[Case], out: Path, jobs: int) -> int:
    """Play all cases; tell each that failed, and go on. Returns how many runs failed."""
    runs = [(case, schemas) for case in cases for schemas in ([False, True] if case.schemas else [False])]
    with servers(min(jobs, len(runs))) as free, ThreadPoolExecutor(jobs) as threads:

        def run(case: Case, schemas: bool) -> bool:
            file = out / f"{case.name}{'.schemas' if schemas else ''}.json"
            file.unlink(missing_ok=True)
            server = free.get()
            try:
                write(play(case, server, schemas=schemas), file)
                return True
            except Exception as error:
                print(f"FAILED {file.stem}: {_words(error)}", flush=True)
                return False
            finally:
                free.put(server)

        return sum(not well for well in threads.map(lambda one: run(*one), runs))


def _words(error: BaseException) -> str:
    causes = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__
    return " <- ".join(f"{type(cause).__name__}: {cause}".replace("\n", " ") for cause in causes)


@contextmanager
def servers(count: int) -> Iterator[SimpleQueue[PostgresServer]]:
    """Running PostgreSQL servers to take from and give back."""
    free: SimpleQueue[PostgresServer] = SimpleQueue()
    running = [PostgresServer(settings=SERVER) for _ in range(count)]
    try:
        for server in running:
            server.start()
            free.put(server)
        yield free
    finally:
        for server in running:
            server.close()


def compare(cases: list[Case], golden: Path, folder: Path, out: Path, *, some: bool) -> int:
    """Print what the comparer finds; returns 0 if nothing differs."""
    comparer = next((c for c in (golden.parent / "compare.py", folder.parent / "compare.py") if c.exists()), None)
    if comparer is None:
        print(f"nothing was compared: there is no compare.py beside {golden} or {folder}")
        return 1
    if not some:
        return _compare(comparer, golden.absolute(), out)
    with tempfile.TemporaryDirectory() as made:
        chosen = Path(made, "golden")
        chosen.mkdir()
        Path(made, "cases").symlink_to(folder.absolute())
        for case in cases:
            for name in (f"{case.name}.json", f"{case.name}.schemas.json"):
                if (golden / name).exists():
                    (chosen / name).symlink_to((golden / name).absolute())
        return _compare(comparer, chosen, out)


def _compare(comparer: Path, golden: Path, out: Path) -> int:
    """Each case's first difference, all of them in `differences.txt`; the comparer's last line in the end."""
    command = [sys.executable, str(comparer), str(golden), str(out)]
    without = subprocess.run([*command, "--no-quirks"], capture_output=True, text=True).stdout.split("\n")[:-1]
    done = subprocess.run([*command, "--limit", "1000000"], capture_output=True, text=True)
    # Not splitlines: values may hold other ends of lines.
    *differences, last = done.stdout.rstrip("\n").split("\n")
    (out / "differences.txt").write_text("".join(f"{line}\n" for line in differences), encoding="utf-8")
    by_case: dict[str, list[str]] = {}
    for line in differences:
        by_case.setdefault(line.partition(": ")[0], []).append(line)
    for first, *others in by_case.values():
        print(first if len(first) <= 300 else f"{first[:300]}…", f"(and {len(others)} more)" if others else "")
    if done.stderr:
        print(done.stderr)
    if differences:
        print(f"all differences: {out / 'differences.txt'}")
    if without:
        print(f"without quirks: {without[-1]}")
    print(last)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
