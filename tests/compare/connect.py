"""Kafka Connect itself with Debezium's connector in it, as its users have it. Starts a process, speaks HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cdc.prove.observed import messages
from cdc.testing.process import Server
from cdc.testing.servers import maven_jars
from cdc.testing.system import HOST, wait_for
from tests.compare.debezium import POM, QUIET

SECONDS: Final = 60.0


class KafkaConnect(Server):
    """A worker in distributed mode, without schemas in its records.

    Args:
        bootstrap_servers: Kafka's.
        group: of the worker; its topics are named after it.
        flush_ms: how often offsets are stored.
    """

    name = "connect"

    def __init__(self, bootstrap_servers: str, group: str, flush_ms: int) -> None:
        self._jars = maven_jars(POM, "debezium")
        super().__init__()
        self._bootstrap_servers, self._group, self._flush_ms = bootstrap_servers, group, flush_ms

    def add(self, name: str, config: Mapping[str, str]) -> None:
        """Have it run a connector."""
        self._ask("PUT", f"/connectors/{name}/config", config)

    def described(self, name: str) -> str:
        """The answer to GET /connectors/NAME."""
        return self._ask("GET", f"/connectors/{name}")

    def stop_connector(self, name: str) -> str:
        """PUT /connectors/NAME/stop; returns the answer to GET /connectors/NAME/offsets once it is stopped."""
        self._ask("PUT", f"/connectors/{name}/stop")

        def stopped() -> bool:
            status = json.loads(self._ask("GET", f"/connectors/{name}/status"))
            return status["connector"]["state"] == "STOPPED" and not status["tasks"]

        assert wait_for(stopped, SECONDS, 0.1), self._ask("GET", f"/connectors/{name}/status")
        return self._ask("GET", f"/connectors/{name}/offsets")

    def stored_offset(self, name: str) -> str | None:
        """The last value with the connector's key on the topic of offsets; needs no worker."""
        values = [
            message.value()
            for message in messages(self._bootstrap_servers, [f"{self._group}-offsets"])
            if json.loads(message.key() or b"[null]")[0] == name
        ]
        return values[-1].decode() if values and values[-1] is not None else None

    def _ask(self, method: str, path: str, body: Any = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return str(answer.read().decode())

    def _command(self) -> Sequence[str]:
        settings = {
            "bootstrap.servers": self._bootstrap_servers,
            "group.id": self._group,
            "listeners": f"http://{HOST}:{self.port}",
            "plugin.discovery": "service_load",
            "offset.flush.interval.ms": str(self._flush_ms),
            "group.initial.rebalance.delay.ms": "0",
        }
        for kind in ("key", "value"):
            settings[f"{kind}.converter"] = "org.apache.kafka.connect.json.JsonConverter"
            settings[f"{kind}.converter.schemas.enable"] = "false"
        for kind in ("offset", "config", "status"):
            settings[f"{kind}.storage.topic"] = f"{self._group}-{kind}s"
            settings[f"{kind}.storage.replication.factor"] = "1"
        for kind in ("offset", "status"):
            settings[f"{kind}.storage.partitions"] = "1"
        file = self.folder / "worker.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        main = "org.apache.kafka.connect.cli.ConnectDistributed"
        return ["java", "-Xmx512m", QUIET, "-cp", f"{self._jars}/*", main, str(file)]

    def _answers(self) -> bool:
        try:
            return bool(self._ask("GET", "/connectors"))
        except OSError:
            return False
