"""The table `cdc_offsets`: where each partition goes on, and who may say so. Touches the target.

A row belongs to the member that bumped its epoch last. A member's batch counts only if every
row it moves still has the member's epoch and the offset the member expects; else the whole
transaction is rolled back. So of two members that believe to own a partition, one cannot
write, whatever Kafka told it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Any, Final

import psycopg
from psycopg import errors, sql

from cdc.errors import NotOwner, TargetUnavailable
from cdc.sink import Held, Offset, TopicFacts, TopicPartition

NAME: Final = "cdc_offsets"

APPLICATION: Final = "cdc sink"
"""Begins the application name of every member's connection."""

TAKE_OVER_MS: Final = 10_000
"""How long a former owner may take to end its transaction before its connection is ended."""

HUNG_SECONDS: Final = 5
"""A transaction that is younger is not taken for one that hangs."""

COLUMNS: Final[Mapping[str, sql.SQL]] = {
    "group": sql.SQL("text"),
    "topic": sql.SQL("text"),
    "partition": sql.SQL("integer"),
    "next_offset": sql.SQL("bigint"),
    "epoch": sql.SQL("bigint NOT NULL"),
    "truncated": sql.SQL("text COLLATE \"C\" NOT NULL DEFAULT ''"),
    "backend": sql.SQL("integer NOT NULL"),
    "updated_at": sql.SQL("timestamptz NOT NULL DEFAULT now()"),
    "complete_at": sql.SQL("timestamptz NOT NULL DEFAULT now()"),
    "topic_id": sql.SQL("text NOT NULL DEFAULT ''"),
    "partitions": sql.SQL("integer NOT NULL DEFAULT 0"),
    "retried": sql.SQL("bigint[] NOT NULL DEFAULT '{}'"),
    "rebuild_until": sql.SQL("bigint"),
}
"""All but the first three can be added to a table that has rows.

`complete_at`: everything that the partition held then is applied. `topic_id`, `partitions`: of the topic that
`next_offset` is of. `retried`: offsets that were applied again last. `rebuild_until`: the partition is read anew up
to there, for rows that the topic does not have to be taken away.
"""

# What was told of a topic first is held on all its partitions, as long as something of it is applied.
_TAKE: Final = """
INSERT INTO {table} AS o ("group", topic, partition, epoch, backend, truncated, topic_id, partitions)
SELECT %(group)s, n.topic, n.partition, 1, pg_backend_pid(),
       coalesce((SELECT max(k.truncated) FROM {table} k WHERE k."group" = %(group)s AND k.topic = n.topic), ''),
       coalesce((SELECT max(k.topic_id) FROM {table} k WHERE k."group" = %(group)s AND k.topic = n.topic
                 AND k.next_offset > 0 AND k.topic_id <> ''), n.id),
       coalesce((SELECT max(k.partitions) FROM {table} k WHERE k."group" = %(group)s AND k.topic = n.topic
                 AND k.next_offset > 0 AND k.partitions > 0 AND NOT n.unordered), n.count)
FROM unnest(%(topics)s::text[], %(partitions)s::int[], %(ids)s::text[], %(counts)s::int[], %(unordered)s::bool[])
  AS n (topic, partition, id, count, unordered)
ORDER BY n.topic, n.partition
ON CONFLICT ("group", topic, partition) DO UPDATE
SET epoch = o.epoch + 1, backend = excluded.backend, updated_at = now(),
    topic_id = excluded.topic_id, partitions = excluded.partitions,
    complete_at = CASE WHEN o.next_offset > 0 THEN o.complete_at ELSE now() END
RETURNING topic, partition, epoch, next_offset, rebuild_until, retried, topic_id, partitions,
          extract(epoch FROM now() - complete_at)
"""

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
        self._rebuilt_at: dict[TopicPartition, Offset | None] = {}
        self._retried: dict[TopicPartition, frozenset[Offset]] = {}

    @staticmethod
    def definition(schema: str) -> sql.Composed:
        """The statement that creates the table."""
        columns = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(n), t) for n, t in COLUMNS.items())
        return sql.SQL('CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ("group", topic, partition))').format(
            sql.Identifier(schema, NAME), columns
        )

    @staticmethod
    def additions(schema: str, existing: Collection[str]) -> list[sql.Composed]:
        """The statements that add what the table of an earlier release lacks."""
        return [
            sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(sql.Identifier(schema, NAME), sql.Identifier(name), type_)
            for name, type_ in COLUMNS.items()
            if name not in existing
        ]

    def own(
        self, partitions: Set[TopicPartition], topics: Mapping[str, TopicFacts], unordered: Set[str] = frozenset()
    ) -> dict[TopicPartition, Held]:
        """Begin a new epoch of each partition; what is known of each.

        Args:
            partitions: to take.
            topics: as they are now.
            unordered: those whose number of partitions may change.

        Raises:
            TargetUnavailable: a former owner's transaction does not end.
        """
        if not partitions:
            return {}
        try:
            rows = self._take(partitions, topics, unordered)
        except errors.LockNotAvailable:
            self._end_former_owners(partitions)
            try:
                rows = self._take(partitions, topics, unordered)
            except errors.LockNotAvailable:
                raise TargetUnavailable(
                    f"partitions of group {self._group} are held by a transaction of a former owner",
                    hint=f"end the session that holds locks on {NAME} (pg_locks, pg_terminate_backend)",
                ) from None
        held = {}
        for topic, partition, epoch, next_offset, rebuild_until, retried, topic_id, count, age in rows:
            place = topic, partition
            self._epochs[place] = epoch
            self._next[place] = next_offset
            self._rebuilt_at[place] = rebuild_until
            self._retried[place] = frozenset(retried)
            held[place] = Held(next_offset, TopicFacts(topic_id, count), max(0.0, float(age)))
        return held

    def topics(self) -> frozenset[str]:
        """Topics of which something was applied, by any member of the group."""
        found = self._connection.execute(
            sql.SQL('SELECT DISTINCT topic FROM {} WHERE "group" = %s AND next_offset > 0').format(self._table),
            [self._group],
        )
        return frozenset(topic for (topic,) in found)

    def held(self) -> dict[TopicPartition, Held]:
        """What is known of every partition of the group, without taking any."""
        found = self._connection.execute(
            sql.SQL(
                "SELECT topic, partition, next_offset, topic_id, partitions, extract(epoch FROM now() - complete_at) "
                'FROM {} WHERE "group" = %s'
            ).format(self._table),
            [self._group],
        )
        return {
            (topic, partition): Held(offset, TopicFacts(id, count), max(0.0, float(age)))
            for topic, partition, offset, id, count, age in found
        }

    def forget(self, topic: str) -> None:
        """Nothing of the topic was ever applied; whoever owns a partition no longer does."""
        self._connection.execute(
            sql.SQL('DELETE FROM {} WHERE "group" = %s AND topic = %s').format(self._table), [self._group, topic]
        )

    def begin_again(self, topic: str, now: TopicFacts, until: Mapping[int, Offset]) -> None:
        """Let every partition of a topic be read from its beginning, by members that take it anew.

        Args:
            topic: which.
            now: what it is.
            until: by partition, where rows that were not read are taken away; empty: they stay.
        """
        self.forget(topic)
        self._connection.execute(
            sql.SQL(
                'INSERT INTO {} ("group", topic, partition, epoch, backend, topic_id, partitions, rebuild_until) '
                "SELECT %s, %s, n.partition, (extract(epoch FROM now()) * 1000)::bigint, 0, %s, %s, n.until "
                "FROM unnest(%s::int[], %s::bigint[]) AS n (partition, until)"
            ).format(self._table),
            [
                self._group,
                topic,
                now.id,
                now.partitions,
                list(range(now.partitions)),
                [until.get(number) for number in range(now.partitions)],
            ],
        )

    def skip(self, topic: str, low: Mapping[int, Offset], high: Mapping[int, Offset]) -> None:
        """Let the partitions of a topic go on within what they hold, from their first offsets to their ends."""
        self._connection.execute(
            sql.SQL(
                "UPDATE {} o SET next_offset = least(greatest(o.next_offset, n.low), n.high), epoch = o.epoch + 1, "
                "complete_at = now() FROM unnest(%s::int[], %s::bigint[], %s::bigint[]) AS n (partition, low, high) "
                'WHERE o."group" = %s AND o.topic = %s '
                "AND o.partition = n.partition"
            ).format(self._table),
            [list(low), list(low.values()), [high[number] for number in low], self._group, topic],
        )

    def release(self, partitions: Set[TopicPartition]) -> None:
        """Forget partitions that are no longer ours."""
        for partition in partitions:
            for known in (self._epochs, self._next, self._rebuilt_at, self._retried):
                known.pop(partition, None)

    @property
    def rebuilding(self) -> frozenset[str]:
        """Topics of owned partitions that are read anew, to take away what they do not have."""
        return frozenset(topic for (topic, _), until in self._rebuilt_at.items() if until is not None)

    def finishing(self, next_offsets: Mapping[TopicPartition, Offset]) -> frozenset[str]:
        """Topics of which a partition is read anew as far as it has to be, with these offsets."""
        return frozenset(
            partition[0]
            for partition, offset in next_offsets.items()
            if (until := self._rebuilt_at.get(partition)) is not None and offset >= until
        )

    def retried(self, partition: TopicPartition) -> frozenset[Offset]:
        """What the last `again` of the partition held, whoever made it."""
        return self._retried.get(partition, frozenset())

    def move(
        self, next_offsets: Mapping[TopicPartition, Offset], ages: Mapping[TopicPartition, float]
    ) -> dict[str, bytes]:
        """Lock and move the partitions of a batch; first statement of its transaction.

        Args:
            next_offsets: where they go on.
            ages: seconds since each was wholly applied, where that is known.

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
                "UPDATE {} o SET next_offset = n.next_offset, updated_at = now(), "
                "complete_at = greatest(o.complete_at, now() - make_interval(secs => n.age)) "
                "FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::float8[]) "
                "AS n (topic, partition, epoch, expected, next_offset, age) "
                'WHERE o."group" = %s AND o.topic = n.topic AND o.partition = n.partition AND o.epoch = n.epoch '
                "AND o.next_offset IS NOT DISTINCT FROM n.expected RETURNING o.topic, o.partition, o.truncated"
            ).format(self._table),
            [
                [topic for topic, _ in ours],
                [partition for _, partition in ours],
                [self._epochs[partition] for partition in ours],
                [self._next[partition] for partition in ours],
                [next_offsets[partition] for partition in ours],
                [ages.get(partition) for partition in ours],
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

    def again(self, partition: TopicPartition, offsets: Set[Offset]) -> dict[str, bytes]:
        """Lock a partition without moving it, to apply events that were put aside; as `move`.

        Args:
            partition: which.
            offsets: of the events.
        """
        topic, number = partition
        found = self._connection.execute(
            sql.SQL(
                'UPDATE {} SET retried = %s WHERE "group" = %s AND topic = %s AND partition = %s AND epoch = %s '
                "RETURNING truncated"
            ).format(self._table),
            [sorted(offsets), self._group, topic, number, self._epochs.get(partition)],
        ).fetchone()
        if found is None:
            raise NotOwner(f"{topic} [{number}] was taken over by another member")
        return {topic: found[0].encode()} if found[0] else {}

    def done_again(self, partition: TopicPartition, offsets: Set[Offset]) -> None:
        """The transaction of `again` was committed."""
        self._retried[partition] = frozenset(offsets)

    def rebuilt(self, topic: str) -> bool:
        """Whether all partitions of a topic are read anew; then it is no longer being rebuilt.

        In a transaction that began with `hold_all`.
        """
        found = self._connection.execute(
            sql.SQL(
                'UPDATE {table} SET rebuild_until = NULL WHERE "group" = %(group)s AND topic = %(topic)s '
                'AND NOT EXISTS (SELECT FROM {table} k WHERE k."group" = %(group)s AND k.topic = %(topic)s '
                "AND k.rebuild_until > coalesce(k.next_offset, -1)) RETURNING 1"
            ).format(table=self._table),
            {"group": self._group, "topic": topic},
        ).fetchone()
        return found is not None

    def was_rebuilt(self, topic: str) -> None:
        """The transaction of `rebuilt` was committed."""
        for partition in self._rebuilt_at:
            if partition[0] == topic:
                self._rebuilt_at[partition] = None

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

    def _take(
        self, partitions: Set[TopicPartition], topics: Mapping[str, TopicFacts], unordered: Set[str]
    ) -> list[tuple[Any, ...]]:
        ours = sorted(partitions)
        facts = [topics.get(topic, TopicFacts("", 0)) for topic, _ in ours]
        with self._connection.transaction():
            self._connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(TAKE_OVER_MS))
            # Not while a truncate marks the partitions it knows: a new one must not miss the mark.
            self._connection.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(self._table))
            return self._connection.execute(
                sql.SQL(_TAKE).format(table=self._table),
                {
                    "group": self._group,
                    "topics": [topic for topic, _ in ours],
                    "partitions": [partition for _, partition in ours],
                    "ids": [fact.id for fact in facts],
                    "counts": [fact.partitions for fact in facts],
                    "unordered": [topic in unordered for topic, _ in ours],
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
