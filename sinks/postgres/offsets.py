"""The table `cdc_offsets`: where each partition goes on, and who may say so. Touches the target.

A row belongs to the member that bumped its epoch last. A member's batch counts only if every
row it moves still has the member's epoch and the offset the member expects; else the whole
transaction is rolled back. So of two members that believe to own a partition, one cannot
write, whatever Kafka told it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Final

import psycopg
from psycopg import errors, sql

from cdc.errors import NotOwner, TargetUnavailable
from cdc.sink import Offset, TopicPartition

NAME: Final = "cdc_offsets"

APPLICATION: Final = "cdc sink"
"""Begins the application name of every member's connection."""

TAKE_OVER_MS: Final = 10_000
"""How long a former owner may take to end its transaction before its connection is ended."""

HUNG_SECONDS: Final = 5
"""A transaction that is younger is not taken for one that hangs."""

Connection = psycopg.Connection[Any]


class Offsets:
    """The rows of one consumer group.

    Args:
        connection: in autocommit; `move` and `cut` are called inside the batch's transaction.
        schema: where the table is.
        group: the consumer group.
    """

    def __init__(self, connection: Connection, schema: str, group: str) -> None:
        self._connection = connection
        self._table = sql.Identifier(schema, NAME)
        self._group = group
        self._epochs: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, Offset | None] = {}

    @staticmethod
    def definition(schema: str) -> sql.Composed:
        """The statement that creates the table."""
        return sql.SQL(
            'CREATE TABLE IF NOT EXISTS {} ("group" text, topic text, partition integer, next_offset bigint, '
            "epoch bigint NOT NULL, truncated text COLLATE \"C\" NOT NULL DEFAULT '', backend integer NOT NULL, "
            'updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY ("group", topic, partition))'
        ).format(sql.Identifier(schema, NAME))

    def own(self, partitions: Set[TopicPartition]) -> dict[TopicPartition, Offset | None]:
        """Begin a new epoch of each partition; where each goes on.

        Raises:
            TargetUnavailable: a former owner's transaction does not end.
        """
        if not partitions:
            return {}
        try:
            rows = self._take(partitions)
        except errors.LockNotAvailable:
            self._end_former_owners(partitions)
            try:
                rows = self._take(partitions)
            except errors.LockNotAvailable:
                raise TargetUnavailable(
                    f"partitions of group {self._group} are held by a transaction of a former owner",
                    hint=f"end the session that holds locks on {NAME} (pg_locks, pg_terminate_backend)",
                ) from None
        for topic, partition, epoch, next_offset in rows:
            self._epochs[topic, partition] = epoch
            self._next[topic, partition] = next_offset
        return {partition: self._next[partition] for partition in partitions}

    def release(self, partitions: Set[TopicPartition]) -> None:
        """Forget partitions that are no longer ours."""
        for partition in partitions:
            self._epochs.pop(partition, None)
            self._next.pop(partition, None)

    def move(self, next_offsets: Mapping[TopicPartition, Offset]) -> dict[str, bytes]:
        """Lock and move the partitions of a batch; first statement of its transaction.

        Returns:
            Topic → the position below which its events were truncated away, where there is one.

        Raises:
            NotOwner: a partition is another member's now.
        """
        strangers = sorted(next_offsets.keys() - self._epochs.keys())
        if strangers:
            raise NotOwner(f"{strangers[0][0]} [{strangers[0][1]}] is not owned by this member")
        ours = sorted(next_offsets)
        found = self._connection.execute(
            sql.SQL(
                "UPDATE {} o SET next_offset = n.next_offset, updated_at = now() "
                "FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[]) "
                "AS n (topic, partition, epoch, expected, next_offset) "
                'WHERE o."group" = %s AND o.topic = n.topic AND o.partition = n.partition AND o.epoch = n.epoch '
                "AND o.next_offset IS NOT DISTINCT FROM n.expected RETURNING o.topic, o.partition, o.truncated"
            ).format(self._table),
            [
                [topic for topic, _ in ours],
                [partition for _, partition in ours],
                [self._epochs[partition] for partition in ours],
                [self._next[partition] for partition in ours],
                [next_offsets[partition] for partition in ours],
                self._group,
            ],
        ).fetchall()
        lost = sorted(next_offsets.keys() - {(topic, partition) for topic, partition, _ in found})
        if lost:
            raise NotOwner(f"{lost[0][0]} [{lost[0][1]}] was taken over by another member")
        floors: dict[str, bytes] = {}
        for topic, _, truncated in found:
            if truncated:
                floors[topic] = max(floors.get(topic, b""), truncated.encode())
        return floors

    def moved(self, next_offsets: Mapping[TopicPartition, Offset]) -> None:
        """The transaction of `move` was committed."""
        self._next.update(next_offsets)

    def hold_all(self) -> None:
        """Wait for every batch under way, and let none begin until this transaction ends.

        Before `move`, in a transaction that is going to `cut`.
        """
        self._connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(self._table))

    def cut(self, topic: str, position: bytes) -> None:
        """Events of the topic before `position` were truncated away, on every partition, read or not."""
        self._connection.execute(
            sql.SQL('UPDATE {} SET truncated = %s WHERE "group" = %s AND topic = %s AND truncated < %s').format(
                self._table
            ),
            [position.decode(), self._group, topic, position.decode()],
        )

    def _take(self, partitions: Set[TopicPartition]) -> list[tuple[str, int, int, int | None]]:
        ours = sorted(partitions)
        with self._connection.transaction():
            self._connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(TAKE_OVER_MS))
            # Not while a truncate marks the partitions it knows: a new one must not miss the mark.
            self._connection.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(self._table))
            return self._connection.execute(
                sql.SQL(
                    'INSERT INTO {table} AS o ("group", topic, partition, epoch, truncated, backend) '
                    "SELECT %(group)s, n.topic, n.partition, 1, coalesce((SELECT max(k.truncated) FROM {table} k "
                    "WHERE k.\"group\" = %(group)s AND k.topic = n.topic), ''), pg_backend_pid() "
                    "FROM unnest(%(topics)s::text[], %(partitions)s::int[]) AS n (topic, partition) "
                    "ORDER BY n.topic, n.partition "
                    'ON CONFLICT ("group", topic, partition) '
                    "DO UPDATE SET epoch = o.epoch + 1, backend = excluded.backend, updated_at = now() "
                    "RETURNING topic, partition, epoch, next_offset"
                ).format(table=self._table),
                {
                    "group": self._group,
                    "topics": [topic for topic, _ in ours],
                    "partitions": [partition for _, partition in ours],
                },
            ).fetchall()

    def _end_former_owners(self, partitions: Set[TopicPartition]) -> None:
        """A member that hangs inside a transaction keeps its rows locked; the server can end it."""
        ours = sorted(partitions)
        self._connection.execute(
            sql.SQL(
                "SELECT pg_terminate_backend(a.pid) FROM {} o JOIN pg_stat_activity a ON a.pid = o.backend "
                "JOIN unnest(%s::text[], %s::int[]) AS n (topic, partition) USING (topic, partition) "
                'WHERE o."group" = %s AND a.usename = current_user AND a.pid <> pg_backend_pid() '
                "AND a.application_name LIKE %s AND a.xact_start <= now() - make_interval(secs => %s)"
            ).format(self._table),
            [
                [topic for topic, _ in ours],
                [partition for _, partition in ours],
                self._group,
                APPLICATION + "%",
                HUNG_SECONDS,
            ],
        )
