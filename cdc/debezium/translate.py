"""Settings of a Debezium PostgreSQL connector → a document of ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from cdc.debezium.rules import Draft, rule_of
from cdc.debezium.values import BadValue, alternatives, expressions, pattern

_LISTS = ("schema.include.list", "schema.exclude.list", "table.include.list", "table.exclude.list")


@dataclass(frozen=True, slots=True)
class Told:
    """A property that is not taken over, or not as it stands.

    Args:
        name: of the property.
        words: what is the matter.
        wrong: whether Debezium would refuse it, or we cannot go on without it.
    """

    name: str
    words: str
    wrong: bool = False


@dataclass(slots=True)
class Translation:
    """What became of a connector.

    Args:
        document: as our YAML holds it.
        told: what is not taken over, and why.
    """

    document: dict[str, Any]
    told: list[Told] = field(default_factory=list)


def translate(name: str, config: Mapping[str, str]) -> Translation:
    """Take over a connector.

    Args:
        name: of the connector in Kafka Connect.
        config: its properties.
    """
    draft, told = Draft(), list[Told]()
    for given, value in config.items():
        rule, groups = rule_of(given)
        if rule is None:
            told.append(Told(given, "is not known here"))
        elif rule.take is None:
            if rule.lacking and value.strip().lower() != rule.default:
                told.append(Told(given, rule.note))
        else:
            try:
                rule.take(draft, value, *groups)
            except BadValue as error:
                told.append(Told(given, str(error), wrong=True))
    try:
        tables = _tables(config)
    except BadValue:
        tables = "*.*"
    return Translation(_document(name, config, draft, tables), told)


def _tables(config: Mapping[str, str]) -> str:
    """The pattern of captured tables: `Selectors.TableSelectionPredicateBuilder`, where a list that includes wins."""
    given = {key: alternatives(expressions(config[key])) for key in _LISTS if config.get(key, "").strip()}
    if not given:
        return "*.*"
    ahead = ""
    if included := given.get("schema.include.list"):
        ahead = rf"(?=(?:{included})\.)"
    elif excluded := given.get("schema.exclude.list"):
        ahead = rf"(?!(?:{excluded})\.)"
    if included := given.get("table.include.list"):
        return pattern(f"{ahead}(?:{included})" if ahead else included)
    if excluded := given.get("table.exclude.list"):
        ahead += rf"(?!(?:{excluded})\Z)"
    return pattern(f"{ahead}.*")


def _document(name: str, config: Mapping[str, str], draft: Draft, tables: str) -> dict[str, Any]:
    connector = {"type": "postgres_wal", "database": "source", "compatibility": "debezium", **draft.connector}
    connector.setdefault("slot", "debezium")
    connector.setdefault("publication", "dbz_publication")
    connector["tables"] = {tables: draft.table}
    host, port = config.get("database.hostname", "localhost"), config.get("database.port", "5432")
    user, database = quote(config.get("database.user", "")), quote(config.get("database.dbname", ""))
    source: dict[str, Any] = {"url": f"postgresql://{user}@{host}:{port}/{database}", **draft.database}
    return {
        "name": config.get("topic.prefix", ""),
        "kafka": {"bootstrap_servers": "localhost:9092"},
        "databases": {"source": source},
        "topics": {"defaults": {"partitions": 1, "cleanup_policy": "delete", **draft.topics}},
        "connectors": {re.sub(r"[^a-z0-9_-]", "-", name.lower()): connector},
    }
