"""The JSON Schema of the settings, with the sections of all installed plugins. Pure but for looking those up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from cdc import databases, kafka, plugins
from cdc.settings import Settings

_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_]"}
"""What may stand for any number, flag or word: `${VAR}`."""


def json_schema() -> dict[str, Any]:
    """The schema of a whole YAML file; a file of a folder may hold any part of it."""
    kinds: dict[str, dict[str, type[BaseModel]]] = {
        "connectors": {name: plugin.settings for name, plugin in plugins.connector_plugins().items()},
        "sinks": {name: plugin.settings for name, plugin in plugins.sink_plugins().items()},
    }
    models: list[type[BaseModel]] = [Settings, *(model for found in kinds.values() for model in found.values())]
    references, shared = models_json_schema([(model, "validation") for model in models], by_alias=True)
    definitions: dict[str, Any] = shared["$defs"]
    names = {model: references[model, "validation"]["$ref"].rpartition("/")[2] for model in models}
    for kind, found in kinds.items():
        for type_name, model in found.items():
            _name_the_type(definitions[names[model]], type_name)
        sections = [{"$ref": f"#/$defs/{names[model]}"} for _, model in sorted(found.items())]
        definitions[names[Settings]]["properties"][kind]["additionalProperties"] = {"anyOf": sections}
    _allow_listed(definitions["KafkaSettings"], "properties", kafka.PROPERTIES)
    _allow_listed(definitions["DatabaseSettings"], "parameters", databases.PARAMETERS)
    root = definitions.pop(names[Settings])
    # A file of a folder, and a file beside CDC_… variables, need not hold everything.
    root.pop("required", None)
    used = {name: definitions[name] for name in sorted(_used(root, definitions))}
    for definition in used.values():
        _files_instead(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of cdc-bridge",
        **_plainer(root),
        "$defs": _plainer(used),
    }


def text_of(schema: Mapping[str, Any]) -> str:
    """The schema as it is printed and checked in."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _name_the_type(definition: dict[str, Any], name: str) -> None:
    definition["properties"]["type"] = {"const": name, "description": "The kind."}
    definition["required"] = ["type", *(key for key in definition.get("required", []) if key != "type")]


def _allow_listed(definition: dict[str, Any], key: str, allowed: Any) -> None:
    text = {"type": ["string", "number", "boolean"]}
    section = definition["properties"][key]
    section.pop("additionalProperties", None)
    properties = {name: dict(text) for name in sorted(allowed)}
    for name, known in allowed.items() if isinstance(allowed, Mapping) else ():
        if known.values:
            properties[name] = {"enum": list(known.values)}
    section["properties"], section["additionalProperties"] = properties, False


def _files_instead(definition: dict[str, Any]) -> None:
    """A secret that is required may be given by its file."""
    properties, required = definition.get("properties", {}), definition.get("required", [])
    for key in [key for key in required if f"{key}_file" in properties]:
        required.remove(key)
        definition.setdefault("anyOf", [{"required": [key]}, {"required": [f"{key}_file"]}])
    if not required:
        definition.pop("required", None)


def _used(schema: Any, definitions: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting = list(_references(schema))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(definitions[name])
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


_NO_TEXT = frozenset({"integer", "number", "boolean"})
_NOTES = ("description", "default")


def _plainer(schema: Any) -> Any:
    """Without made-up titles; and `${VAR}` may stand where a number, a flag or one of some words is expected."""
    if isinstance(schema, list):
        return [_plainer(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    if str(schema.get("type")) in _NO_TEXT or isinstance(schema.get("enum"), list):
        notes = {key: value for key, value in schema.items() if key in _NOTES}
        rule = {key: value for key, value in schema.items() if key not in (*_NOTES, "title")}
        return {**notes, "anyOf": [rule, _VARIABLE]}
    return {key: _plainer(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
