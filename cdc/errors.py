"""The one tree of errors. Touches nothing.

Every error names the thing it is about (table, slot, topic, setting), says what was
expected, and carries a hint: what a person can do. `retriable` is a fact of the type: the
supervisor starts the worker again after a pause when it is true.

    CdcError
    ├── ConfigError              wrong settings; holds every Problem found      exit 2
    ├── Gap                      changes that can no longer be read             exit 3
    ├── Refused                  would be unsafe to go on                       exit 3
    ├── SecretUnavailable        a password file or command gives nothing for now (retriable)
    ├── SpoolFull                what has to be held on disk does not fit there
    ├── SchemaChanged            a table's columns are others than `schema_changes` lets through
    ├── TransformFailed          a transform of the user's cannot do with an event
    ├── SourceError              the source said no
    │   ├── SourceUnavailable    … for now (retriable)
    │   └── ProtocolError        a message that cannot be understood
    ├── PublishError             Kafka said no
    │   ├── BrokerUnavailable    … for now (retriable)
    │   ├── RegistryUnavailable  … nor does the schema registry (retriable)
    │   ├── Interrupted          outcome unknown: start over (retriable)
    │   ├── Fenced               another producer took over (retriable, once)
    │   └── RecordTooLarge       an event does not fit its topic
    └── SinkError                the target said no
        ├── TargetUnavailable    … for now (retriable)
        ├── NotOwner             another member owns the partition (retriable)
        └── RowRefused           the target refuses one event
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class CdcError(Exception):
    """Base of all errors a user may see.

    Args:
        message: what is wrong, naming the thing; no row values, no secrets.
        hint: what a person can do about it, or None.
    """

    retriable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the settings: where, what, and a suggestion."""

    message: str
    path: str = ""
    file: str = ""
    line: int | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        key = f"{self.path}: " if self.path else ""
        tail = f" ({self.suggestion})" if self.suggestion else ""
        return f"{place}{key}{self.message}{tail}"


class ConfigError(CdcError):
    """Wrong settings. Holds all problems found, so that they are shown together."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems), hint=hint)


class Gap(CdcError):
    """Changes that can no longer be read. The worker stops in state `gap`.

    Args:
        lasting: whether only a heal ends it, so that it is told again even if it cannot be seen any
            more. False where what is found says it at every start, or the settings may be to blame.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None, lasting: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.lasting = lasting


class Refused(CdcError):
    """Going on would risk what is promised."""

    exit_code = 3


class SecretUnavailable(CdcError):
    """A password's file cannot be read, or its command fails, for now."""

    retriable = True


class SpoolFull(CdcError):
    """What must be held on disk does not fit: the disk is full, or the quota is used up. Nothing is lost."""


class SchemaChanged(CdcError):
    """A table's columns are others than its policy lets through. Nothing of the new form is published."""

    exit_code = 3


class TransformFailed(CdcError):
    """A transform raised, or made of an event what cannot be published. Nothing is lost: the batch is not stored."""


class SourceError(CdcError):
    """The source refuses, and a retry will not help (a grant, a setting)."""


class SourceUnavailable(SourceError):
    """The source cannot be reached or reads cannot go on for now."""

    retriable = True


class ProtocolError(SourceError):
    """A replication message that cannot be understood."""


class PublishError(CdcError):
    """Kafka refuses, and a retry will not help."""


class BrokerUnavailable(PublishError):
    """Kafka cannot be reached for now."""

    retriable = True


class RegistryUnavailable(PublishError):
    """The schema registry cannot be reached for now."""

    retriable = True


class Interrupted(PublishError):
    """A transaction was aborted or its outcome is unknown: start over from the stored position."""

    retriable = True


class Fenced(PublishError):
    """A newer producer with our transactional id exists, or our transaction timed out."""

    retriable = True


class RecordTooLarge(PublishError):
    """An event is larger than its topic takes."""


class SinkError(CdcError):
    """The target refuses, and a retry will not help."""


class TargetUnavailable(SinkError):
    """The target cannot be reached for now."""

    retriable = True


class NotOwner(SinkError):
    """Another member took the partition over; this one's batch was rolled back."""

    retriable = True


class RowRefused(SinkError):
    """The target refuses one event.

    Args:
        message: the reason, without values.
        topic, partition, offset: where the event is.
        reason: short and without values (an SQLSTATE and its constraint, say).

    `others` holds what else of the same batch is refused, so that all can be put aside at once.
    """

    def __init__(self, *, topic: str, partition: int, offset: int, reason: str, hint: str | None = None) -> None:
        super().__init__(f"{topic} [{partition}] at offset {offset}: the target refuses the event: {reason}", hint=hint)
        self.topic, self.partition, self.offset, self.reason = topic, partition, offset, reason
        self.others: tuple[RowRefused, ...] = ()
