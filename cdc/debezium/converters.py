"""Kafka Connect's converters, for keys and for values → the one `format` here, and its schema registry. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cdc.debezium.draft import Draft, Told, Variable
from cdc.debezium.values import BadValue, boolean, refers

AVRO = "io.confluent.connect.avro.AvroConverter"

_KINDS = ("value", "key")
"""What values are told wins."""


def of_converters(config: Mapping[str, str], draft: Draft, wrong: list[Told], lost: list[Told]) -> None:
    """Fill `format` and `schema_registry`.

    Args:
        config: the connector's properties.
        draft: gets them, and remarks.
        wrong, lost: get converters without a counterpart, and what is not taken over of the others.
    """
    given = {kind: name for kind in _KINDS if (name := config.get(f"{kind}.converter", "").strip())}
    for kind, name in given.items():
        if name != AVRO and name.rpartition(".")[2] != "JsonConverter":
            words = (
                f"{name.rpartition('.')[2]} has no counterpart: org.apache.kafka.connect.json.JsonConverter and {AVRO} "
                "have one; take the line out to go on with JSON"
            )
            wrong.append(Told(f"{kind}.converter", words))
    if len(given) == 2 and (given["key"] == AVRO) is not (given["value"] == AVRO):
        wrong.append(Told("key.converter", "must be as value.converter is: `format` is for keys and values alike"))
    enabled = _enabled(config, wrong)
    if AVRO in given.values():
        draft.connector["format"] = "avro"
        draft.remarks.append("format: avro needs packages of its own: pip install 'cdc-bridge[avro]'")
        _registry(config, draft, wrong, lost)
    elif enabled:
        draft.connector["format"] = "debezium-json-schemas" if next(iter(enabled.values())) else "debezium-json"
        if len({*enabled.values()}) == 2:
            draft.remarks.append(
                "key.converter.schemas.enable and value.converter.schemas.enable differ: `format` is for both"
            )
    elif given:
        # What JsonConverter does unless told otherwise.
        draft.connector["format"] = "debezium-json-schemas"
    else:
        draft.remarks.append(
            "the worker's converters are not known: without schemas; else set format: debezium-json-schemas, or avro"
        )


def _enabled(config: Mapping[str, str], wrong: list[Told]) -> dict[str, bool]:
    """`schemas.enable`, where it is given."""
    found: dict[str, bool] = {}
    for kind in _KINDS:
        name = f"{kind}.converter.schemas.enable"
        try:
            if name in config:
                found[kind] = boolean(config[name])
        except BadValue as error:
            wrong.append(Told(name, str(error)))
    return found


def _registry(config: Mapping[str, str], draft: Draft, wrong: list[Told], lost: list[Told]) -> None:
    """Where Confluent's converter keeps schemas, and who it is there; the password is not written down."""
    urls = {kind: url for kind in _KINDS if (url := config.get(f"{kind}.converter.schema.registry.url", "").strip())}
    for kind, url in urls.items():
        if not re.fullmatch(r"https?://[^@\s]+", url) and not refers(url):
            wrong.append(Told(f"{kind}.converter.schema.registry.url", "must be http://… or https://…, with no login"))
    if not urls:
        draft.remarks.append("the worker's schema registry is not known: set SCHEMA_REGISTRY_URL")
    elif len({*urls.values()}) == 2:
        lost.append(Told("key.converter.schema.registry.url", "keys and values have one registry here"))
    draft.registry["url"] = next(iter(urls.values()), Variable("${SCHEMA_REGISTRY_URL:-http://localhost:8081}"))
    for name in (f"{kind}.converter.{ahead}" for kind in _KINDS for ahead in ("", "schema.registry.")):
        if login := config.get(f"{name}basic.auth.user.info", "").strip():
            user = login.partition(":")[0]
            unknown = refers(login) or ":" not in login
            draft.registry["username"] = Variable("${SCHEMA_REGISTRY_USERNAME}") if unknown else user
            draft.registry["password"] = Variable("${SCHEMA_REGISTRY_PASSWORD}")
            variables = (
                "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD" if unknown else "SCHEMA_REGISTRY_PASSWORD"
            )
            draft.remarks.append(f"{name}basic.auth.user.info is not written down: set {variables}")
            return
