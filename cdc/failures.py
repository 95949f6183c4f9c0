"""Any exception in words that hold no row values and no secrets: for people and for reports. Pure."""

from __future__ import annotations

import traceback
from typing import Any

from cdc.errors import CdcError

_OURS = frozenset({"cdc", "connectors", "sinks"})

REPORT_IT = "please report it, with the traceback that CDC_DEBUG=1 shows"


def describe(error: BaseException) -> dict[str, Any]:
    """`type`, `message`, `hint`, `retriable` and `exit_code` of an exception, as JSON values.

    The text of an exception that is not ours may quote a row, so only its type and place are
    told. A worker that met one may be started again: recovery is the same as after a crash.
    """
    if isinstance(error, CdcError):
        return {
            "type": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "retriable": error.retriable,
            "exit_code": error.exit_code,
        }
    return {
        "type": "InternalError",
        "message": f"internal error: {_name(error)} at {_place(error)}; {REPORT_IT}",
        "hint": None,
        "retriable": True,
        "exit_code": 1,
    }


def _name(error: BaseException) -> str:
    code = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} ({code})" if code else type(error).__name__


def _place(error: BaseException) -> str:
    """The innermost line of our own code, as `module:line`."""
    frames = [(frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [place for place in frames if place[0].partition(".")[0] in _OURS]
    module, line = (ours or frames or [("an unknown place", 0)])[-1]
    return f"{module}:{line}"
