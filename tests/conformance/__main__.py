"""Runs cases of conformance with Debezium through the bridge, and compares what it published with the golden files.

    python -m tests.conformance CASES OUT [--golden GOLDEN] [--only NAME,NAME] [--jobs N] [--postgres MAJOR]

Each case runs on a PostgreSQL server that no other case uses meanwhile and on a broker of its own, with the settings
that `cdc import-debezium` makes of its connector's. OUT/<case>.json and OUT/<case>.schemas.json get what is on the
topics in the end. A case does not apply to an older server that refuses its SQL. The comparer is the `compare.py`
beside the golden files; its last line is the last one here.
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

import psycopg

from cdc import logs
from cdc.testing.servers import PostgresInstallation, PostgresServer, installed_postgres
from tests.conformance.cases import Case, read_cases
from tests.conformance.play import SERVER, play, write


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path, help="folder of cases")
    parser.add_argument("out", type=Path, help="folder for what was published; made if it is missing")
    parser.add_argument("--golden", type=Path, help="folder of the golden files")
    parser.add_argument("--only", default="", help="names of cases, separated by commas")
    parser.add_argument("--jobs", type=int, default=4, help="cases that run beside each other")
    parser.add_argument("--postgres", type=int, help="major version of the server; the newest installed if not given")
    chosen = parser.parse_args()
    installation = next((one for one in installed_postgres() if chosen.postgres in (None, one.version[0])), None)
    if installation is None:
        print(f"PostgreSQL {chosen.postgres} is not installed")
        return 1
    cases = read_cases(chosen.cases, [name for name in chosen.only.split(",") if name])
    chosen.out.mkdir(parents=True, exist_ok=True)
    began = monotonic()
    with (chosen.out / "bridge.log").open("w") as log:
        logs.configure(stream=log)
        failed, apply = run_all(cases, chosen.out, chosen.jobs, installation)
    print(
        f"PostgreSQL {'.'.join(map(str, installation.version))}: {len(apply)} cases in {monotonic() - began:.0f} s; "
        f"{len(cases) - len(apply)} do not apply; {failed} runs failed; what was published: {chosen.out}"
    )
    if chosen.golden is None:
        print("nothing was compared: give the folder of golden files")
        return 1
    some = bool(chosen.only) or len(apply) < len(cases)
    return compare(apply, chosen.golden, chosen.cases, chosen.out, some=some) or min(failed, 1)


_NOT_KNOWN = ("0A", "42", "58")
"""Classes of SQLSTATE: not supported, an error of syntax or a name that is not there, an extension's file."""


def run_all(cases: list[Case], out: Path, jobs: int, installation: PostgresInstallation) -> tuple[int, list[Case]]:
    """Play all cases; tell each that failed or does not apply, and go on.

    Returns: how many runs failed, and the cases that apply.
    """
    older = installation != installed_postgres()[0]
    runs = [(case, schemas) for case in cases for schemas in ([False, True] if case.schemas else [False])]
    with servers(min(jobs, len(runs)), installation) as free, ThreadPoolExecutor(jobs) as threads:

        def run(case: Case, schemas: bool) -> bool | None:
            file = out / f"{case.name}{'.schemas' if schemas else ''}.json"
            file.unlink(missing_ok=True)
            server = free.get()
            try:
                write(play(case, server, schemas=schemas), file)
                return True
            except Exception as error:
                if older and isinstance(error, psycopg.Error) and (error.sqlstate or "")[:2] in _NOT_KNOWN:
                    print(f"does not apply: {file.stem}: {_words(error)}", flush=True)
                    return None
                print(f"FAILED {file.stem}: {_words(error)}", flush=True)
                return False
            finally:
                free.put(server)

        went = list(threads.map(lambda one: run(*one), runs))
    left_out = {case.name for (case, _), well in zip(runs, went, strict=True) if well is None}
    return went.count(False), [case for case in cases if case.name not in left_out]


def _words(error: BaseException) -> str:
    causes = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__
    return " <- ".join(f"{type(cause).__name__}: {cause}".replace("\n", " ") for cause in causes)


@contextmanager
def servers(count: int, installation: PostgresInstallation) -> Iterator[SimpleQueue[PostgresServer]]:
    """Running PostgreSQL servers to take from and give back."""
    free: SimpleQueue[PostgresServer] = SimpleQueue()
    running = [PostgresServer(installation, settings=SERVER) for _ in range(count)]
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
