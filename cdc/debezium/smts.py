"""Kafka Connect's transformations that have a counterpart → options of tables, and of which. Pure.

Names and values are those of Debezium 3.6 (`EventRouterConfigDefinition`, `ExtractNewRecordStateConfigDefinition`,
`ByLogicalTableRouter`) and of Kafka Connect's `RegexRouter` and `TopicNameMatches`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cdc.debezium.draft import Draft, Told
from cdc.debezium.java import Expression, OfTables, of_tables, replacement, words_of
from cdc.debezium.values import BadValue, boolean, listed, word

_MATCHES = "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"

PHYSICAL = "__dbz__physicalTableIdentifier"
"""What `ByLogicalTableRouter` calls the member that it adds to keys."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Options of some tables.

    Args:
        options: of theirs.
        tables: an expression of "schema.table"; None: of all.
        negated: of all but these.
        topic: a replacement that makes their topic of it.
    """

    options: Mapping[str, Any]
    tables: OfTables | None = None
    negated: bool = False
    topic: tuple[str | int, ...] = ()


@dataclass(slots=True)
class Given:
    """The properties of one transformation.

    Args:
        name: that it has in the connector.
        config: the connector's properties.
        routers: what names topics before it, in order; gets its own.
    """

    name: str
    config: Mapping[str, str]
    routers: list[tuple[Expression, Sequence[str | int]]]
    _asked: list[str] = field(default_factory=list)

    def get(self, option: str, default: str = "") -> str:
        """A property's value."""
        self._asked.append(option)
        return self.config.get(self._key(option), default).strip()

    def told(self, option: str, words: str) -> Told:
        return Told(self._key(option), words)

    def wrong(self, error: BadValue) -> Told:
        """What is wrong with the property that was asked for last."""
        return self.told(self._asked[-1], str(error))

    def rest(self) -> Iterator[str]:
        """Properties that nobody asked for."""
        begin = self._key("")
        for key in self.config:
            if key.startswith(begin) and key.removeprefix(begin) not in self._asked:
                yield key.removeprefix(begin)

    def _key(self, option: str) -> str:
        return f"transforms.{self.name}.{option}"


def choices(config: Mapping[str, str], draft: Draft, wrong: list[Told], lost: list[Told]) -> list[Choice]:
    """What becomes of `transforms`, in their order.

    Args:
        config: the connector's properties.
        draft: gets what holds for the whole connector, and remarks.
        wrong, lost: get what Debezium would refuse, and what is not taken over.
    """
    found: list[Choice] = []
    routers: list[tuple[Expression, Sequence[str | int]]] = []
    routed: list[str] = []  # what topics of outboxes begin with
    for name in listed(config.get("transforms", "")):
        given = Given(name, config, routers)
        kind = given.get("type")
        if not kind:
            wrong.append(given.told("type", "is missing"))
            continue
        take = next((take for known, take in _KNOWN.items() if kind in (known, known.rpartition(".")[2])), None)
        if take is None:
            short = kind.rpartition(".")[2]
            step = _LIKE.get(short.partition("$")[0], "docs/transforms.md has the steps that there are")
            words = f"{short} has no counterpart that is taken over; {step}"
            lost.append(given.told("type", words))
            continue
        try:
            tables, negated = _chosen(given, lost)
        except _NotChosen:
            continue
        except BadValue as error:
            lost.append(given.told("predicate", str(error)))
            continue
        try:
            choice = take(given, draft, lost)
        except BadValue as error:
            wrong.append(given.wrong(error))
            continue
        if choice is None:
            continue
        if choice.topic and any(_may_match(given.routers[-1][0], topic) for topic in routed):
            lost.append(given.told("type", "messages of an outbox keep the topics that the event router gives them"))
        if "outbox" in choice.options:
            routed.append(choice.options["outbox"].get("topic", _OUTBOX_TOPIC).partition("{")[0])
        if tables is not None:
            choice = replace(choice, tables=tables, negated=negated)
        for option in given.rest():
            lost.append(given.told(option, "is not known here"))
        if choice.topic and draft.connector.get("truncates") == "fan_out":
            draft.remarks.append(f"transforms.{name}: a truncate of one table would empty all that share its topic")
            choice = replace(choice, options={**choice.options, "truncates": "skip"})
        found.append(choice)
    return found


class _NotChosen(Exception):
    """A predicate without a counterpart, which was told of."""


def _chosen(given: Given, lost: list[Told]) -> tuple[OfTables | None, bool]:
    """The tables that a transformation's predicate chooses, or that it leaves out. Raises: BadValue, _NotChosen."""
    predicate, negated = given.get("predicate"), given.get("negate", "false").lower() == "true"
    if not predicate:
        return None, False
    kind = given.config.get(f"predicates.{predicate}.type", "")
    pattern = given.config.get(f"predicates.{predicate}.pattern", "")
    if kind != _MATCHES:
        lost.append(given.told("predicate", f"{kind.rpartition('.')[2] or predicate} has no counterpart here"))
        raise _NotChosen
    return _of_tables(given, Expression.read(pattern), []), negated


def _of_tables(given: Given, expression: Expression, parts: list[str | int]) -> OfTables:
    words = [one for router, to in given.routers for part in (router.text, _text(to)) for one in words_of(part)]
    for option in ("schema.include.list", "schema.exclude.list", "table.include.list", "table.exclude.list"):
        words += words_of(given.config.get(option, ""))
    listed_tables = [entry.replace("\\", "") for entry in listed(given.config.get("table.include.list", ""))]
    named = [table for table in listed_tables if re.fullmatch(r"\w+\.\w+", table)]

    def renamed(topic: str) -> str:
        for router, to in given.routers:
            if (held := router.groups(topic)) is not None:
                topic = "".join(part if isinstance(part, str) else held[part - 1] for part in to)
        return topic

    return of_tables(expression, _prefix(given), parts, words, renamed, named)


def _text(parts: Sequence[str | int]) -> str:
    return "".join(part if isinstance(part, str) else " " for part in parts)


def _prefix(given: Given) -> str:
    """What topics begin with; that it is missing is told elsewhere."""
    return given.config.get("topic.prefix", "").strip()


def _may_match(expression: Expression, beginning: str) -> bool:
    """Whether an expression may match a topic that begins so."""
    found = re.match(r"(?:[\w-]|\\\.)*(?![?*{])", "" if "|" in expression.text else expression.text)
    literal = found[0].replace("\\", "") if found else ""
    return literal.startswith(beginning) or beginning.startswith(literal)


def _unwrap(given: Given, draft: Draft, lost: list[Told]) -> Choice | None:
    """`ExtractNewRecordState` → `format: json`."""
    modes = ("drop", "tombstone", "rewrite", "rewrite-with-tombstone", "delete-to-tombstone")
    older = _handling(given.get("delete.handling.mode"), given.get("drop.tombstones"))
    mode = word(given.get("delete.tombstone.handling.mode", older), modes)
    if given.get("predicate") and mode in ("drop", "rewrite"):
        words = f"{mode}: deletes and tombstones are left out of all tables of a connector, or of none"
        lost.append(given.told("delete.tombstone.handling.mode", words))
    elif mode == "drop":
        skipped = [*draft.connector.get("skipped_operations", ["t"]), "d"]
        draft.connector["skipped_operations"] = list(dict.fromkeys(skipped))
    elif mode == "rewrite":
        draft.connector["tombstones"] = False
    elif mode != "rewrite-with-tombstone":
        words = f'{mode}: a delete is a row with "__deleted": "true" here, and then the tombstone'
        lost.append(given.told("delete.tombstone.handling.mode", words))
    for entry in listed(given.get("add.fields")):
        if entry.partition(":")[0] != "op" or entry.partition(":")[2] not in ("", "op"):
            lost.append(given.told("add.fields", f"{entry}: rows of format json have __deleted, __op and __pos only"))
    if given.get("add.fields.prefix", "__") != "__":
        lost.append(given.told("add.fields.prefix", "members of format json begin with __"))
    given.get("add.headers.prefix")
    for option in ("add.headers", "route.by.field", "drop.fields.header.name"):
        if given.get(option):
            lost.append(given.told(option, "format json has no transforms"))
    for option in ("drop.fields.from.key", "drop.fields.keep.schema.compatible"):
        given.get(option)
    if draft.connector.get("format") in ("debezium-json-schemas", "avro"):
        lost.append(given.told("type", "flattened rows are JSON without schemas here"))
    draft.remarks.append(f"transforms.{given.name}: flattened rows have the members __deleted, __op and __pos always")
    return Choice({"format": "json"})


def _handling(deletes: str, drop: str) -> str:
    """What `delete.tombstone.handling.mode` is for the two options that stood in its place before Debezium 3."""
    if not deletes and not drop:
        return "tombstone"
    dropped = boolean(drop or "true")
    match word(deletes or "drop", ("drop", "rewrite", "none")):
        case "drop":
            return "drop" if dropped else "tombstone"
        case "rewrite":
            return "rewrite" if dropped else "rewrite-with-tombstone"
        case _:
            return "delete-to-tombstone"


def _regex_router(given: Given, draft: Draft, lost: list[Told]) -> Choice | None:
    """`RegexRouter` → `topic`."""
    if draft.connector.get("format") == "debezium-json-schemas":
        draft.remarks.append(f"transforms.{given.name}: names of schemas follow the topic")
    return _routed(given, draft, lost, "regex", "replacement")


def _logical_router(given: Given, draft: Draft, lost: list[Told]) -> Choice | None:
    """`ByLogicalTableRouter` → `topic`, and the step `key`."""
    given.get("logical.table.cache.size")
    routed = _routed(given, draft, lost, "topic.regex", "topic.replacement")
    if routed is None or not boolean(given.get("key.enforce.uniqueness", "true")):
        for option in ("key.field.name", "key.field.regex", "key.field.replacement"):
            given.get(option)
        return routed
    if given.get("key.field.regex"):
        words = "the key's further member is the topic that the table would have alone, whole: {name}.{schema}.{table}"
        lost.append(given.told("key.field.regex", words))
    given.get("key.field.replacement")
    draft.remarks.append(f"transforms.{given.name}: the member that keys get is in rows too; flattened rows have none")
    step = {"key": {given.get("key.field.name", PHYSICAL): "{name}.{schema}.{table}"}}
    return replace(routed, options={"transforms": [step]})


def _routed(given: Given, draft: Draft, lost: list[Told], regex: str, to: str) -> Choice | None:
    expression = _expression(given, regex)
    parts = replacement(given.get(to), expression)
    if not parts:
        raise BadValue("is missing")
    if given.get("predicate"):
        lost.append(given.told("predicate", "a router's own expression chooses tables here"))
        return None
    try:
        tables = _of_tables(given, expression, parts)
    except BadValue as error:
        lost.append(given.told(regex, str(error)))
        return None
    for topic in _others(_prefix(given), draft):
        if expression.groups(topic) is not None:
            draft.remarks.append(f"transforms.{given.name}: {topic} keeps its name")
    given.routers.append((expression, parts))
    return Choice({}, tables, topic=tuple(parts))


def _others(prefix: str, draft: Draft) -> Iterator[str]:
    """Topics beside those of tables."""
    yield f"{prefix}.message"
    if draft.connector.get("transaction_metadata"):
        yield f"{prefix}.transaction"
    if "heartbeat" in draft.connector:
        yield f"{draft.connector['heartbeat'].get('topic_prefix', '__debezium-heartbeat')}.{prefix}"


def _expression(given: Given, option: str, default: str = "") -> Expression:
    text = given.get(option, default)
    if not text:
        raise BadValue("is missing")
    return Expression.read(text)


_LIKE = {
    "Filter": "the step `filter` leaves events out, `where` rows: docs/transforms.md",
    "ContentBasedRouter": "the step `route` does so by a column: docs/transforms.md",
    "ReplaceField": "`columns.exclude`, or the steps `drop`, `keep` and `rename`: docs/transforms.md",
    "MaskField": "`mask` of the table: docs/settings.md",
    "Cast": "the step `cast` does so: docs/transforms.md",
    "InsertField": "the step `set` adds constants, `python` what is computed: docs/transforms.md",
    "InsertHeader": "the step `headers` does so: docs/transforms.md",
    "ValueToKey": "`message_key` of the table: docs/settings.md",
    "TimestampConverter": "`time_precision` of the connector, or the step `python`: docs/transforms.md",
}
"""What does the like here, by a transformation's class."""

_OUTBOX_TOPIC = "outbox.event.{routedByValue}"
"""By default."""

_COLUMNS = {
    "table.field.event.id": ("id", "id"),
    "table.field.event.key": ("payload_id", "aggregateid"),
    "table.field.event.payload": ("payload", "payload"),
    "table.field.event.timestamp": ("timestamp", ""),
    "route.by.field": ("route_by", "aggregatetype"),
}
"""Property → option of `outbox`, and what both are by default."""

_FLAGS = {
    "table.expand.json.payload": "expand_json",
    "route.tombstone.on.empty.payload": "tombstone_on_empty_payload",
}


def _outbox(given: Given, draft: Draft, lost: list[Told]) -> Choice | None:
    """`EventRouter` → `outbox`."""
    options: dict[str, Any] = {}
    for name, (option, default) in _COLUMNS.items():
        if (value := given.get(name, default)) != default:
            options[option] = value
    for name, option in _FLAGS.items():
        if boolean(given.get(name, "false")):
            options[option] = True
    expression = _expression(given, "route.topic.regex", "(?<routedByValue>.*)")
    parts = replacement(given.get("route.topic.replacement", _OUTBOX_TOPIC.replace("{", "${")), expression)
    names = [name or f"g{number}" for number, name in enumerate(expression.names, 1)]
    topic = "".join(part if isinstance(part, str) else f"{{{names[part - 1]}}}" for part in parts)
    if (expression.text, names, topic) != ("(.*)", ["routedByValue"], _OUTBOX_TOPIC):
        options["pattern"] = expression.named(names)
        options["topic"] = topic
    if placed := [*_placed(given, lost)]:
        options["placement"] = placed
    if word(given.get("table.op.invalid.behavior", "warn"), ("warn", "error", "fatal")) == "fatal":
        options["updates"] = "fail"
    given.get("table.field.event.type")  # says what the column is, and does nothing by itself
    for option, default, words in _LOST_OF_OUTBOX:
        if (value := given.get(option, default)) != default:
            lost.append(given.told(option, words.format(value)))
    return Choice({"outbox": options})


_LOST_OF_OUTBOX = (
    ("table.field.event.schema.version", "", "messages have no version of their schema"),
    ("table.field.additional.missing", "error", "a column that is missing stops the connector"),
    ("table.json.payload.null.behavior", "ignore", "members that are null have no schema"),
    ("tracing.span.context.field", "tracingspancontext", "there is no tracing"),
    ("tracing.operation.name", "debezium-read", "there is no tracing"),
    ("tracing.with.context.field.only", "false", "there is no tracing"),
)
"""Property, its default, and what is lost with another value."""


def _placed(given: Given, lost: list[Told]) -> Iterator[dict[str, str]]:
    for entry in listed(given.get("table.fields.additional.placement")):
        column, *places = [part.strip() for part in entry.split(":")]
        if not places:
            raise BadValue(f"must be column:place or column:place:name, several separated by commas; {entry} is not")
        to, *name = places
        if to not in ("header", "envelope"):
            lost.append(given.told("table.fields.additional.placement", f"{entry}: header or envelope are the places"))
            continue
        yield {"column": column, "to": to, **({"name": name[0]} if name else {})}


_KNOWN: dict[str, Callable[[Given, Draft, list[Told]], Choice | None]] = {
    "io.debezium.transforms.outbox.EventRouter": _outbox,
    "io.debezium.transforms.ExtractNewRecordState": _unwrap,
    "io.debezium.transforms.ByLogicalTableRouter": _logical_router,
    "org.apache.kafka.connect.transforms.RegexRouter": _regex_router,
}
"""By the class; Kafka Connect takes its own name alone too."""
