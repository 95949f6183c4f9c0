"""The schema registry, by Confluent's REST interface. Touches the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from cdc.errors import PublishError, RegistryUnavailable
from cdc.settings import SchemaRegistrySettings

from .schema import Avro

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

TIMEOUT: Final = 10
"""Seconds that it may take to answer."""

RETRIES: Final = 1
"""Of one request; a connector that the registry does not answer starts over, with pauses that grow."""

_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA = 40401, 40402, 40403
_INCOMPATIBLE: Final = 409
_REFUSED: Final = (401, 403)
_BUSY: Final = (408, 429)

_T = TypeVar("_T")


class Registry:
    """Schemas by subject and by id. Not for two threads at once.

    Args:
        settings: where it is.
    """

    def __init__(self, settings: SchemaRegistrySettings) -> None:
        self._settings = settings
        self._made: SchemaRegistryClient | None = None

    def register(self, subject: str, schema: Avro) -> int:
        """The id of a schema: of the one that is there already, or a new version that readers of the last one can read.

        Raises:
            RegistryUnavailable: it does not answer.
            PublishError: it refuses, or the schema is not compatible; says what differs.
        """
        from confluent_kafka.schema_registry import Schema

        wanted = Schema(orjson.dumps(schema).decode(), "AVRO")
        known = self._ask(subject, lambda client: client.lookup_schema(subject, wanted), missing=None)
        if known is not None and known.schema_id is not None:
            return int(known.schema_id)
        latest = self._ask(subject, lambda client: client.get_latest_version(subject), missing=None)
        if latest is not None and not self._ask(subject, lambda client: client.test_compatibility(subject, wanted)):
            raise _incompatible(subject, orjson.loads(latest.schema.schema_str or "null"), schema)
        return int(self._ask(subject, lambda client: client.register_schema(subject, wanted)))

    def schema(self, schema_id: int) -> Avro:
        """The schema that has an id.

        Raises:
            ValueError: there is none, or it is not Avro's.
            RegistryUnavailable, PublishError: as for `register`.
        """
        found = self._ask(f"id {schema_id}", lambda client: client.get_schema(schema_id), missing=None)
        if found is None or found.schema_type not in (None, "AVRO") or found.references or not found.schema_str:
            raise ValueError(f"the schema registry has no Avro schema of id {schema_id}")
        schema: Avro = orjson.loads(found.schema_str)
        return schema

    def reach(self) -> int:
        """How many subjects it has. Raises: as `register`."""
        return len(self._ask("subjects", lambda client: client.get_subjects()))

    def _ask(self, subject: str, question: Callable[[SchemaRegistryClient], _T], **missing: _T) -> _T:
        import httpx2
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        where = f"schema registry {self._settings.url}"
        try:
            return question(self._client)
        except SchemaRegistryError as error:
            code, status = error.error_code, error.http_status_code
            if missing and (code in (_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA) or status == 404):
                return missing["missing"]
            said = f"{where}: {subject}: {error.error_message} ({status}, {code})"
            if status >= 500 or status in _BUSY:
                raise RegistryUnavailable(said) from None
            if status in _REFUSED:
                hint = "give `username` and `password_file` of one that may, under `schema_registry:`"
                raise PublishError(said, hint=hint) from None
            raise PublishError(said, hint=_EVOLVE if status == _INCOMPATIBLE else None) from None
        except httpx2.TransportError as error:
            raise RegistryUnavailable(
                f"{where} does not answer: {type(error).__name__}: {error}",
                hint="is it running, and are `url`, `ssl_ca` and the login under `schema_registry:` right?",
            ) from None

    @property
    def _client(self) -> SchemaRegistryClient:
        if self._made is None:
            from confluent_kafka.schema_registry import SchemaRegistryClient

            self._made = SchemaRegistryClient(client_config(self._settings))
        return self._made


def client_config(settings: SchemaRegistrySettings) -> dict[str, Any]:
    """The client's own configuration."""
    config: dict[str, Any] = {
        "url": settings.url,
        "timeout": TIMEOUT,
        "max.retries": RETRIES,
        "ssl.ca.location": settings.ssl_ca,
        "ssl.certificate.location": settings.ssl_certificate,
        "ssl.key.location": settings.ssl_key,
    }
    if settings.ssl_key_password is not None:
        config["ssl.key.password"] = settings.ssl_key_password.get_secret_value()
    if settings.username is not None and settings.password is not None:
        config["basic.auth.user.info"] = f"{settings.username}:{settings.password.get_secret_value()}"
    return {name: value for name, value in config.items() if value is not None}


_EVOLVE: Final = (
    "change the table back, or let the subject take it: set its compatibility, or delete its versions, in the registry"
)


def _incompatible(subject: str, latest: Avro, wanted: Avro) -> PublishError:
    different = "; ".join(differences(latest, wanted)) or "only in what is said about types"
    return PublishError(
        f"subject {subject}: the registry does not take the new schema beside the latest one: {different}", hint=_EVOLVE
    )


def differences(latest: Avro, wanted: Avro) -> Iterator[str]:
    """What a new schema has otherwise than the latest one, field by field, in words."""
    old, new = dict(_fields(latest)), dict(_fields(wanted))
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new:
            yield f"{name} is gone"
        elif name not in old:
            yield f"{name} is new ({_type(new[name])}{'' if 'default' in new[name] else ', no default'})"
        elif _type(old[name]) != _type(new[name]):
            yield f"{name} was {_type(old[name])}, is {_type(new[name])}"


def _fields(schema: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _fields(branch)
    elif isinstance(schema, dict) and schema.get("type") == "record":
        for field in schema["fields"]:
            yield f"{schema['name']}.{field['name']}", field
            yield from _fields(field["type"])
    elif isinstance(schema, dict):
        yield from _fields(schema.get("items") or schema.get("values"))


def _type(field: Mapping[str, Any]) -> str:
    return _name(field["type"])


def _name(schema: Any) -> str:
    """A type in a word: `string`, `null or long`."""
    if isinstance(schema, list):
        return " or ".join(_name(branch) for branch in schema)
    if isinstance(schema, dict):
        kind = schema["type"]
        return f"record {schema['name']}" if kind == "record" else str(schema.get("logicalType", kind))
    return str(schema)
