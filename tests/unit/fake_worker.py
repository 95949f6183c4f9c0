"""Workers without connectors and sinks: what one does follows from its name. Started by tests of the supervisor.

    python fake_worker.py FOLDER connector NAME --member 0 --report-fd N

Each start is noted as a file `NAME.PID` in FOLDER.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cdc.asking import Answers
from cdc.errors import Gap
from cdc.lifeline import ReportPipe, hold_on

folder, kind, name = sys.argv[1:4]
pipe = ReportPipe(int(sys.argv[sys.argv.index("--report-fd") + 1]))
stopped = threading.Event()
answers = Answers(pipe.send)
answers.start()
noted = f"watch_{name}" if kind == "watch" else name
starts = len(list(Path(folder).glob(f"{noted}.*")))
well: dict[str, Any] = {
    "state": "streaming" if kind == "connector" else "live",
    "position": "A/1",
    "lag_seconds": 0.5,
    "rate": 10,
}


def ask(action: str, tables: Sequence[str]) -> str:
    if action == "cancel":
        raise Gap(f"{name} has nothing to cancel", hint="do this")
    if action == "pause":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "resume":
        threading.Event().wait()
    well["snapshot"] = {"rows": 0, "total": len(tables)}
    return f"{action} of {', '.join(tables)}"


def end(state: str, error_type: str, retriable: bool, code: int) -> None:
    error = {"type": error_type, "message": f"{name} met {error_type}", "hint": "do this", "retriable": retriable}
    pipe.send_last({**well, "ended": True, "state": state, "error": error})
    os._exit(code)


if name == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    hold_on(stopped.set, answers.take)
if name == "unkillable_by_parent_death":
    ctypes.CDLL(None).prctl(1, 0)
if name == "with_child":
    grandchild = subprocess.Popen(["sleep", "600"])
    Path(folder, f"grandchild.{grandchild.pid}").touch()

Path(folder, f"{noted}.{os.getpid()}").touch()
pipe.send({"state": "starting"})
if kind == "watch" and name == "gives_up":
    end("gap", "Gap", False, 3)
elif kind == "watch":
    well = {"state": "watching", "retained_wal_bytes": 77, "wal_held_by": sys.argv[sys.argv.index("--why") + 1]}
elif name == "gap":
    end("gap", "Gap", False, 3)
elif name == "fenced":
    end("retrying", "Fenced", True, 1)
elif name in ("unlucky", "gives_up"):
    pipe.send({"state": "waiting"})
    end("retrying", "BrokerUnavailable", True, 1)
elif name == "broken":
    end("retrying", "InternalError", True, 1)
elif name == "finishes":
    pipe.send(well)
    pipe.send_last({**well, "ended": True, "state": "stopped", "error": None})
    os._exit(0)
elif name == "twice_unlucky" and starts < 2:
    end("retrying", "SourceUnavailable", True, 1)
elif name == "killed_once" and starts < 1:
    os.kill(os.getpid(), signal.SIGKILL)
answers.serve(ask, lambda: pipe.send(well))
pipe.send(well)
while not stopped.wait(1):
    pass
os._exit(128 + signal.SIGTERM)
