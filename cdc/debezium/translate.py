"""Settings of a Debezium PostgreSQL connector → a document of ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote

from cdc.debezium.absent import LACKING, NEEDLESS, OLDER
from cdc.debezium.converters import of_converters
from cdc.debezium.draft import Draft, Told, Variable
from cdc.debezium.rules import TAKEN, Rule
from cdc.debezium.smts import choices
from cdc.debezium.tables import entries
from cdc.debezium.values import BadValue, listed, refers

_ADDRESS = {"database.user": "", "database.hostname": "", "database.port": "5432", "database.dbname": ""}
"""What the source's URL is made of, in its order, and their defaults."""

_SECRET = re.compile(r"database\.password|.+\.basic\.auth\.user\.info")
"""Properties that are not written down anyway."""


@dataclass(slots=True)
class Translation:
    """What became of a connector.

    Args:
        document: as our YAML holds it.
        wrong: values that Debezium would refuse, or that leave nothing to go on with.
        lost: properties that are not taken over, and why.
        remarks: what is taken over, but not as it was.
        salts: variable of the document → the salt that it stands for.
    """

    document: dict[str, Any]
    wrong: list[Told] = field(default_factory=list)
    lost: list[Told] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    salts: dict[str, str] = field(default_factory=dict, repr=False)

    def start_from(self, offset: dict[str, int]) -> None:
        """Go on at the connector's offset: see `offset`."""
        for connector in self.document["connectors"].values():
            connector["start_from"] = offset


def translate(name: str, config: Mapping[str, str]) -> Translation:
    """Take over a connector.

    Args:
        name: of the connector in Kafka Connect.
        config: its properties.
    """
    draft, wrong, lost = Draft(), list[Told](), list[Told]()
    config = _renamed(config, draft.remarks)
    for given, value in config.items():
        rule, parameters = _rule(given)
        if rule is None:
            lost += _absent(given, value, config)
        elif refers(value) and given not in _ADDRESS and not _SECRET.fullmatch(given):
            wrong.append(Told(given, "is a reference that only Kafka Connect resolves; write the value in its place"))
        else:
            try:
                rule.take(draft, value, *parameters)
            except BadValue as error:
                wrong.append(Told(given, str(error)))
    if "heartbeat" in draft.connector and "interval" not in draft.connector["heartbeat"]:
        del draft.connector["heartbeat"]  # a prefix alone turns nothing on
    of_converters(config, draft, wrong, lost)
    tables: dict[str, dict[str, Any]] = {}
    try:
        tables = entries(config, draft.table, choices(config, draft, wrong, lost), draft.remarks)
    except BadValue as error:
        wrong.append(Told("", str(error)))
    wrong += _missing(config)
    if "plugin.name" not in config:
        draft.remarks.append(
            "plugin.name is not given, and Debezium's is decoderbufs then: the slot must be one of pgoutput"
        )
    if draft.connector.get("format") == "avro":
        _without_avro(tables, draft.remarks)
    if any(told.name == "connector.class" for told in wrong):
        wrong = [told for told in wrong if told.name == "connector.class"]  # the others are of another kind
    document = _document(name, config, draft, tables)
    return Translation(document, wrong, lost, draft.remarks, draft.salts)


def _rule(name: str) -> tuple[Rule | None, tuple[str, ...]]:
    """The rule of a property that is taken over, and what the property's name holds."""
    for rule in TAKEN:
        if rule.expression is None and rule.name == name:
            return rule, ()
        if rule.expression is not None and (found := re.fullmatch(rule.expression, name)):
            return rule, found.groups()
    return None, ()


def _renamed(config: Mapping[str, str], remarks: list[str]) -> dict[str, str]:
    """The properties by the names that they have now; of two the newer one counts."""
    found = {name: value for name, value in config.items() if name not in OLDER}
    for name, value in config.items():
        if name in OLDER:
            found.setdefault(OLDER[name], value)
            remarks.append(f"{name} is of Debezium 1: it is {OLDER[name]} now")
    return found


def _absent(name: str, value: str, config: Mapping[str, str]) -> Iterator[Told]:
    if name.partition(".")[0] in listed(f"{config.get('converters', '')},{config.get('post.processors', '')}"):
        return  # told with the property that names it
    for absent in (*LACKING, *NEEDLESS):
        if absent.means(name):
            if absent.lost(value):
                yield Told(name, absent.why)
            return
    known = [*(rule.name for rule in TAKEN), *(one.name for one in (*LACKING, *NEEDLESS) if one.name[-1] != "*")]
    close = [] if "salt" in name else get_close_matches(name, known, n=1, cutoff=0.8)
    yield Told(name, "it is not known here" + (f"; did you mean {close[0]}?" if close else ""))


def _without_avro(tables: Mapping[str, dict[str, Any]], remarks: list[str]) -> None:
    """Tables whose events have no place in Avro here get JSON, which is told."""
    for entry, options in tables.items():
        if "outbox" in options or "transforms" in options:
            options["format"] = "debezium-json"
            remarks.append(
                f"{entry}: messages of an outbox, and tables with transforms, are JSON: there is no Avro of them"
            )


def _missing(config: Mapping[str, str]) -> Iterator[Told]:
    for name in ("topic.prefix", "database.hostname", "database.user", "database.dbname"):
        if not config.get(name, "").strip():
            yield Told(name, "is missing")
    port = config.get("database.port", "5432").strip()
    if not refers(port) and not (re.fullmatch(r"\d{1,5}", port) and 0 < int(port) < 65536):
        yield Told("database.port", "must be a number from 1 to 65535")
    prefix = config.get("topic.prefix", "").strip()
    if prefix and not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", prefix):
        yield Told(
            "topic.prefix", "must be of a-z, 0-9, '.', '_' and '-' here, 64 at most, and begins with one of a-z, 0-9"
        )


def _document(name: str, config: Mapping[str, str], draft: Draft, tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The sections in the order in which people read them."""
    connector = {
        "type": "postgres_wal",
        "database": "source",
        "compatibility": "debezium",
        "slot": "debezium",
        "publication": "dbz_publication",
        **draft.connector,
        "tables": tables if any(tables.values()) else list(tables),
    }
    topics = {"partitions": 1, "cleanup_policy": "delete", **draft.topics}
    idle = {"compact": {"retention"}, "delete": {"delete_retention"}}.get(topics["cleanup_policy"], set())
    user, host, port, database = (_part(config, draft.remarks, name) for name in _ADDRESS)
    return {
        "name": config.get("topic.prefix", "").strip(),
        "kafka": {"bootstrap_servers": Variable("${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}")},
        **({"schema_registry": draft.registry} if draft.registry else {}),
        "databases": {"source": {"url": Variable(f"postgresql://{user}@{host}:{port}/{database}"), **draft.database}},
        "topics": {"defaults": {name: value for name, value in topics.items() if name not in idle}},
        "connectors": {_connector_name(name): connector},
    }


def _part(config: Mapping[str, str], remarks: list[str], name: str) -> str:
    """A part of the source's URL; in place of what only Kafka Connect resolves a variable of the environment."""
    value = config.get(name, _ADDRESS[name]).strip()
    if not refers(value):
        return quote(value, safe=":,[]/" if name == "database.hostname" else "")
    variable = f"SOURCE_{name.rpartition('.')[2].upper()}"
    remarks.append(f"{name} is a reference that only Kafka Connect resolves: set {variable}, spelled as in a URL")
    return f"${{{variable}}}"


def _connector_name(name: str) -> str:
    """The name, as far as it is fit for one of ours."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_") or "debezium"
