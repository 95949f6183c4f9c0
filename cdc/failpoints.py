"""Named places where a test may kill this process: before and after every durable step. Touches a folder, if asked.

Off (always, but for tests and `cdc prove`) a failpoint is a call that does nothing, once a batch at most. With
`CDC_FAILPOINTS=FOLDER` a process that reaches one ends as if by `kill -9` when the folder holds a file of that
name; the file is removed first, so that it happens once, in one process.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

PUBLISHER = (
    "publisher.before_init",
    "publisher.after_init",
    "publisher.after_read_position",
    "publisher.before_begin",
    "publisher.after_records",
    "publisher.before_commit",
    "publisher.after_commit",
)

STREAM = (
    "stream.after_lock",
    "stream.before_start",
    "stream.after_start",
    "stream.before_confirm",
    "stream.after_confirm",
    "stream.before_hand_over",
)

SNAPSHOT = (
    "snapshot.before_publication",
    "snapshot.after_publication",
    "snapshot.before_slot",
    "snapshot.after_slot",
    "snapshot.before_import",
    "snapshot.after_import",
    "snapshot.before_range",
    "snapshot.after_range",
    "snapshot.after_table",
    "snapshot.after_last_table",
)

SINK = (
    "sink.before_own",
    "sink.after_own",
    "sink.before_apply",
    "sink.after_offsets",
    "sink.before_commit",
    "sink.after_commit",
    "sink.after_table_made",
    "sink.before_release",
    "sink.before_put_aside",
    "sink.after_put_aside",
    "sink.before_settled",
    "sink.after_settled",
    "sink.before_rebuild",
    "sink.after_rebuild",
)

HEAL = (
    "heal.before_intent",
    "heal.after_intent",
    "heal.after_fold",
    "heal.before_deletes",
    "heal.after_deletes",
)

NAMES = PUBLISHER + STREAM + SNAPSHOT + SINK + HEAL
"""All there are."""

FOLDER = os.environ.get("CDC_FAILPOINTS", "")


def _off(name: str) -> None:
    """Nobody asked."""


def _armed(name: str) -> None:
    assert name in NAMES, name
    try:
        Path(FOLDER, name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


reach = _armed if FOLDER else _off
"""`reach("publisher.before_commit")`: this process is about to do that."""
