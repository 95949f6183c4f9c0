"""Files, folders, `${VAR}`, `CDC_…__…` and secret files → Settings. Reads files and the environment.

All that is wrong is shown at once, each with file, line, the key's path and a suggestion.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import IO, Any, TypeAlias

import orjson
from pydantic import BaseModel, ValidationError

from cdc import databases, kafka, plugins
from cdc.config import consistency, documents, wording
from cdc.config.documents import Document
from cdc.config.overrides import override
from cdc.errors import ConfigError, Problem, SecretUnavailable
from cdc.settings import (
    DatabaseSettings,
    KafkaSettings,
    Path,
    SchemaRegistrySettings,
    ServerSettings,
    Settings,
    place_settings,
)

Texts: TypeAlias = tuple[tuple[str, str], ...]
"""Names and contents of YAML files."""

DEFAULT = "cdc.yaml"
"""What is read in the current folder when neither an argument nor `CDC_CONFIG` says otherwise."""

_NOTHING = "postgresql:///"
"""Stands for a secret that could not be read, so that it is not reported as missing or wrong as well."""


def load(path: FilePath | str | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Args:
        path: a YAML file, or a folder whose `*.yaml` and `*.yml` are read together; None:
            `CDC_CONFIG`, else `cdc.yaml` here.
        environ: for `${VAR}`, `CDC_CONFIG` and overrides.

    Raises:
        ConfigError: everything that is wrong.
    """
    return from_texts(read(path, environ), environ)


def read(path: FilePath | str | None = None, environ: Mapping[str, str] = os.environ) -> Texts:
    """The files that `load` reads, and what is in them.

    Raises:
        ConfigError: one that is missing, or cannot be read.
    """
    return tuple((str(file), _text(file)) for file in _files(path, environ))


def from_texts(texts: Texts, environ: Mapping[str, str] = os.environ) -> Settings:
    """As `load`, from what was read before."""
    return _settings([documents.read(text, file, environ) for file, text in texts], environ)


def texts_in(descriptor: int) -> Texts:
    """What `write_texts` wrote to an open file; several processes may share it."""
    content = bytearray()
    while part := os.pread(descriptor, 65536, len(content)):
        content += part
    return tuple((file, text) for file, text in orjson.loads(content))


def write_texts(texts: Texts) -> IO[bytes]:
    """A file without a name that holds them: for a process that is to run with just these settings."""
    descriptor, name = tempfile.mkstemp()
    os.unlink(name)
    file = os.fdopen(descriptor, "w+b")
    file.write(orjson.dumps(texts))
    file.flush()
    return file


def parse(text: str, environ: Mapping[str, str] | None = None, *, file: str = "<text>") -> Settings:
    """As `load`, from the text of one YAML file."""
    given = environ or {}
    return _settings([documents.read(text, file, given)], given)


def _files(path: FilePath | str | None, environ: Mapping[str, str]) -> list[FilePath]:
    where = FilePath(path or environ.get("CDC_CONFIG") or DEFAULT)
    if where.is_dir():
        files = sorted(f for f in where.iterdir() if f.suffix in (".yaml", ".yml") and not f.name.startswith("."))
        if not files:
            raise ConfigError([Problem("the folder holds no *.yaml", file=str(where))], hint="`cdc init` writes one")
        return files
    if not where.exists():
        hint = "give --config FILE_OR_FOLDER or set CDC_CONFIG; `cdc init` writes a file to start from"
        raise ConfigError([Problem("there is no such file or folder", file=str(where))], hint=hint)
    return [where]


def _text(file: FilePath) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(f"cannot be read: {error.strerror}", file=str(file))]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem("is not UTF-8 text", file=str(file))]) from None


def _settings(read: list[Document], environ: Mapping[str, str]) -> Settings:
    if not all(document.readable for document in read):
        # What stands in a file that is no YAML cannot be judged: "name is missing" would mislead.
        raise ConfigError([problem for document in read for problem in document.problems])
    document = documents.merge(read)
    override(document, environ)
    kinds = dict(_plugin_models(document))
    _files_near_the_yaml(document)
    bases: dict[Path, type[BaseModel]] = {
        ("kafka",): KafkaSettings,
        ("schema_registry",): SchemaRegistrySettings,
        ("server",): ServerSettings,
    }
    models = {**bases, **dict(_databases(document)), **kinds}
    for path, model in models.items():
        _fill_secrets(document, path, model)
    settings = _validated(document, kinds)
    document.problems += consistency.problems_of(settings)
    if document.problems:
        raise ConfigError(_in_order(document.problems))
    return settings


def _plugin_models(document: Document) -> Iterator[tuple[Path, type[BaseModel]]]:
    """The model of each section under `connectors:` and `sinks:`, found by its `type`."""
    installed: dict[str, Mapping[str, plugins.ConnectorPlugin | plugins.SinkPlugin]] = {
        "connectors": plugins.connector_plugins(),
        "sinks": plugins.sink_plugins(),
    }
    for kind, found in installed.items():
        for name in _names(document, kind):
            section = document.data[kind][name]
            path: Path = (kind, name)
            if not isinstance(section, dict):
                document.problem(path, "must be a section with keys of its own", "indent its keys below it")
                continue
            wanted = section.get("type")
            plugin = found.get(str(wanted))
            if plugin is not None:
                yield path, plugin.settings
                continue
            close = get_close_matches(str(wanted), found, n=1)
            suggestion = f"did you mean {close[0]}?" if close else f"installed are {', '.join(sorted(found)) or 'none'}"
            message = "is missing" if wanted is None else f"there is no {kind[:-1]} of this kind"
            document.problem((*path, "type"), message, suggestion)


def _databases(document: Document) -> Iterator[tuple[Path, type[BaseModel]]]:
    for name in _names(document, "databases"):
        yield ("databases", name), DatabaseSettings


def _names(document: Document, section: str) -> list[str]:
    found = document.data.get(section)
    return list(found) if isinstance(found, dict) else []


def _files_near_the_yaml(document: Document) -> None:
    """Make relative names of certificates relative to the folder of the YAML that holds them."""
    for name, known in kafka.PROPERTIES.items():
        if known.kind == "path":
            _absolute(document, ("kafka", "properties", name))
    for name in ("ssl_ca", "ssl_certificate", "ssl_key"):
        _absolute(document, ("schema_registry", name))
    for database in _names(document, "databases"):
        for parameter in databases.PATHS:
            _absolute(document, ("databases", database, "parameters", parameter))


def _absolute(document: Document, path: Path) -> None:
    value = document.at(path)
    # `system` and `probe` are words of libpq and librdkafka for the operating system's store.
    if not isinstance(value, str) or value in ("", "system", "probe"):
        return
    file = _near(document, path, value)
    document.at(path[:-1])[path[-1]] = str(file)
    if not file.exists():
        document.problem(path, f"there is no file {file}")


def _near(document: Document, path: Path, name: str) -> FilePath:
    place = document.places.get(path)
    folder = FilePath(place.file).parent if place and place.line else FilePath()
    return (folder / FilePath(name).expanduser()).absolute()


def _fill_secrets(document: Document, path: Path, model: type[BaseModel]) -> None:
    """Read each `X_file` of a section into its `X`."""
    section = document.at(path)
    if not isinstance(section, dict):
        return
    for key in [key for key in section if key.endswith("_file") and key[:-5] in model.model_fields]:
        inner, secret = (*path, key), key.removesuffix("_file")
        if not isinstance(section[key], str):
            continue  # the model will say so
        if section.get(secret) is not None:
            document.problem(inner, f"stands beside {secret}", "give one of them")
            continue
        file = _near(document, inner, section[key])
        section[key] = str(file)
        document.substituted.add((*path, secret))
        document.places.setdefault((*path, secret), document.places[inner])
        try:
            section[secret] = databases.read_secret(file, "the file")
        except SecretUnavailable as error:
            document.problem(inner, error.message, "the path is relative to the YAML's folder")
            section[secret] = _NOTHING


def _validated(document: Document, kinds: Mapping[Path, type[BaseModel]]) -> Settings:
    """The settings as far as they are right; what is wrong is noted in `document`."""
    sections: dict[str, dict[str, Any]] = {"connectors": {}, "sinks": {}}
    for path, model in kinds.items():
        try:
            sections[str(path[0])][str(path[1])] = model.model_validate(document.at(path))
        except ValidationError as error:
            wording.problems_of(error, document, path, model)
    raw = {key: value for key, value in document.data.items() if value is not None}
    for kind in sections:
        if isinstance(raw.get(kind), dict):
            raw[kind] = sections[kind]
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        wording.problems_of(error, document, (), Settings)
        settings = _what_is_right(raw, error)
    return place_settings(settings, document.places)


def _what_is_right(raw: dict[str, Any], error: ValidationError) -> Settings:
    """Settings without what is wrong, so that the rest can be judged too; `name` is "" where it is wrong."""
    data = dict(raw)
    for details in error.errors(include_url=False, include_input=False):
        section, *below = details["loc"]
        held = data.get(str(section))
        if below and isinstance(held, dict) and section != "schema_registry":
            data[str(section)] = {key: value for key, value in held.items() if key != below[0]}
        else:
            data.pop(str(section), None)
    name = data.get("name", "")
    data["name"] = name or "any"
    data["kafka"] = {"bootstrap_servers": "-", **data.get("kafka", {})}
    return Settings.model_validate(data).model_copy(update={"name": name})


def _in_order(problems: list[Problem]) -> list[Problem]:
    """By place, and one for each key: what else is wrong with it may follow from the first."""
    first: dict[tuple[str, int | None, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.file, problem.line, problem.path), problem)
    return sorted(first.values(), key=lambda problem: (problem.file, problem.line or 0))
