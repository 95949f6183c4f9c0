"""Debezium's JDBC sink connector reads topics into a database: see JdbcSink.java. Starts processes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cdc.testing.servers import maven_jars
from tests.compare.debezium import HERE, QUIET

POM: Final = HERE / "jdbc-sink-pom.xml"
SECONDS: Final = 180.0


def read_topics(bootstrap_servers: str, topics: Sequence[str], port: int, database: str, folder: Path) -> str:
    """Apply what is on the topics now; the tables are made by the sink, `conf_public_t` for `conf.public.t`.

    Args:
        bootstrap_servers: of Kafka.
        topics: with schemas in every record.
        port, database: of the target.
        folder: for a file.

    Returns:
        What it said in the end.

    Raises:
        AssertionError: it failed.
    """
    settings = {
        "name": "jdbc-sink",
        "connection.url": f"jdbc:postgresql://127.0.0.1:{port}/{database}",
        "connection.username": "postgres",
        "connection.password": "any",
        "insert.mode": "upsert",
        "delete.enabled": "true",
        "primary.key.mode": "record_key",
        "schema.evolution": "basic",
        "quote.identifiers": "true",
    }
    file = folder / "jdbc-sink.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    jars = maven_jars(POM, "jdbc-sink")
    command = ["java", "-Xmx512m", QUIET, "-cp", f"{jars}/*", str(HERE / "JdbcSink.java")]
    ran = subprocess.run(
        [*command, str(file), bootstrap_servers, ",".join(topics)], capture_output=True, text=True, timeout=SECONDS
    )
    assert ran.returncode == 0, f"the JDBC sink failed:\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout.strip()
