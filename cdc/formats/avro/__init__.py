"""Avro with a schema registry: the bytes and schemas of Debezium with Confluent's AvroConverter."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from cdc.errors import CdcError
from cdc.formats.contract import Described, Format, Reader, Writer
from cdc.plugins import Finding
from cdc.settings import SchemaRegistrySettings, Settings, Wrong

__all__ = ["plugin"]


def _writer(settings: Settings, table: Described) -> Writer:
    from .codec import AvroWriter
    from .registry import Registry

    return AvroWriter(Registry(_section(settings)), table)


def _reader(settings: Settings) -> Reader:
    from .codec import AvroReader
    from .registry import Registry

    return AvroReader(Registry(_section(settings)))


def _section(settings: Settings) -> SchemaRegistrySettings:
    if settings.schema_registry is None:
        raise ValueError("a topic in Avro needs `schema_registry:` in the settings")
    return settings.schema_registry


def _wrongs(settings: Settings) -> Iterable[Wrong]:
    if settings.schema_registry is None and not settings.knows(("schema_registry",)):
        yield Wrong((), "avro needs a schema registry", "add schema_registry: {url: http://registry:8081}")
    if find_spec("httpx2") is None:
        yield Wrong((), "avro needs packages that are not installed", "pip install 'cdc-bridge[avro]'")


def _check(settings: Settings) -> Iterable[Finding]:
    from .registry import Registry

    section = _section(settings)
    try:
        subjects = Registry(section).reach()
    except CdcError as error:
        yield Finding("error", "schema registry", error.message, error.hint)
    else:
        yield Finding("ok", "schema registry", f"{section.url} answers; {subjects} subjects")


plugin = Format(
    # Avro refuses names that PostgreSQL takes, so that they are changed, as Debezium is told to for Avro.
    style={"schema_names": "avro", "field_names": "avro"},
    writer=_writer,
    reader=_reader,
    wrongs=_wrongs,
    check=_check,
)
