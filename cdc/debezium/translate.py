"""Settings of a Debezium PostgreSQL connector → a document of ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from cdc.debezium.absent import LACKING, NEEDLESS
from cdc.debezium.draft import Draft, Told, Variable
from cdc.debezium.rules import TAKEN, Rule
from cdc.debezium.smts import choices
from cdc.debezium.tables import entries
from cdc.debezium.values import BadValue, refers


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
    for given, value in config.items():
        rule, parameters = _rule(given)
        if rule is None:
            lost += _absent(given, value)
        elif refers(value) and given != "database.password":
            wrong.append(Told(given, "is a reference that only Kafka Connect resolves; write the value in its place"))
        else:
            try:
                rule.take(draft, value, *parameters)
            except BadValue as error:
                wrong.append(Told(given, str(error)))
    if "heartbeat" in draft.connector and "interval" not in draft.connector["heartbeat"]:
        del draft.connector["heartbeat"]  # a prefix alone turns nothing on
    tables: dict[str, dict[str, Any]] = {}
    try:
        tables = entries(config, draft.table, choices(config, draft, wrong, lost), draft.remarks)
    except BadValue as error:
        wrong.append(Told("", str(error)))
    wrong += _missing(config)
    draft.remarks += _about_converters(config)
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


def _absent(name: str, value: str) -> Iterator[Told]:
    for absent in (*LACKING, *NEEDLESS):
        if absent.means(name):
            if absent.lost(value):
                yield Told(name, absent.why)
            return
    yield Told(name, "is not known here")


def _missing(config: Mapping[str, str]) -> Iterator[Told]:
    for name in ("topic.prefix", "database.hostname", "database.user", "database.dbname"):
        if not config.get(name, "").strip():
            yield Told(name, "is missing")
    prefix = config.get("topic.prefix", "").strip()
    if prefix and not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", prefix):
        yield Told(
            "topic.prefix", "must be of a-z, 0-9, '.', '_' and '-' here, 64 at most, and begins with one of a-z, 0-9"
        )


def _about_converters(config: Mapping[str, str]) -> Iterator[str]:
    enabled = [config.get(f"{kind}.converter.schemas.enable", "").strip().lower() for kind in ("key", "value")]
    if not any(enabled) and not any(f"{kind}.converter" in config for kind in ("key", "value")):
        yield "the worker's converters are not known: without schemas; else set format: debezium-json-schemas"
    if all(enabled) and enabled[0] != enabled[1]:
        yield "key.converter.schemas.enable and value.converter.schemas.enable differ: `format` is for both"
    if "plugin.name" not in config:
        yield "plugin.name is not given, and Debezium's is decoderbufs then: the slot must be one of pgoutput"


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
    user, host = quote(config.get("database.user", "").strip()), config.get("database.hostname", "").strip()
    port, database = config.get("database.port", "5432").strip(), quote(config.get("database.dbname", "").strip())
    return {
        "name": config.get("topic.prefix", "").strip(),
        "kafka": {"bootstrap_servers": Variable("${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}")},
        "databases": {"source": {"url": f"postgresql://{user}@{host}:{port}/{database}", **draft.database}},
        "topics": {"defaults": {"partitions": 1, "cleanup_policy": "delete", **draft.topics}},
        "connectors": {_connector_name(name): connector},
    }


def _connector_name(name: str) -> str:
    """The name, as far as it is fit for one of ours."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_") or "debezium"
