"""Three Kafka brokers on one machine: killed and started one by one. Starts processes.

Every topic has three replicas and needs two of them to take a write (`min.insync.replicas`), the
bridge's and Kafka's own. The brokers are controllers too, as in small clusters, so that with two of
them nobody is left to elect a leader either; or the controller is a process of its own, and then a
broker alone is well, but refuses what it cannot replicate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cdc.testing.process import ServerError
from cdc.testing.servers import KafkaServer
from cdc.testing.system import HOST, free_port, listens, wait_for

BROKERS = 3
_START_SECONDS = 60.0

_SETTINGS = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "replica.lag.time.max.ms": "5000",
}


class KafkaCluster:
    """A cluster of three brokers, numbered 1 to 3; answers as soon as all are there.

    Args:
        jars: as for KafkaServer.
        settings: of server.properties, for each broker.
        controller_apart: whether a fourth process is the controller.
    """

    def __init__(
        self,
        jars: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        controller_apart: bool = False,
    ) -> None:
        numbers = range(1, BROKERS + 1)
        self.brokers = {number: _Node(jars) for number in numbers}
        self._controller = _Controller(jars) if controller_apart else None
        if self._controller is None:
            voters = ",".join(f"{number}@{HOST}:{node.controller_port}" for number, node in self.brokers.items())
        else:
            voters = f"{BROKERS + 1}@{HOST}:{self._controller.port}"
        nodes: dict[int, KafkaServer] = {**self.brokers}
        if self._controller is not None:
            nodes[BROKERS + 1] = self._controller
        cluster_id = self.brokers[1].cluster_id
        for number, node in nodes.items():
            node.cluster_id = cluster_id
            node.settings |= {"node.id": str(number), "controller.quorum.voters": voters, **_SETTINGS}
            if isinstance(node, _Node):
                node.settings |= node.listening(controller=self._controller is None) | dict(settings or {})

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.bootstrap_servers for node in self.brokers.values())

    @property
    def running(self) -> list[int]:
        """Numbers of the brokers that run."""
        return [number for number, node in self.brokers.items() if node.pid]

    def leader(self, topic: str, partition: int = 0) -> int:
        """Number of the broker that leads a partition; -1 without one, or if no broker answers."""
        try:
            partitions = self._admin().list_topics(topic, timeout=5).topics[topic].partitions
        except KafkaException:
            return -1
        return int(partitions[partition].leader) if partition in partitions else -1

    def kill_broker(self, number: int) -> None:
        """SIGKILL for one; `start_broker` brings it back with its data and address."""
        self.brokers[number].kill()

    def start_broker(self, number: int) -> None:
        """Start one again; it catches up by itself."""
        self.brokers[number].start()

    def start(self) -> None:
        """Start what does not run, together: one alone has no quorum.

        Raises:
            ServerError: one ended, or did not answer in time.
        """
        if self._controller is not None:
            self._controller.start()
        self._each(KafkaServer.start)
        if not wait_for(lambda: self.registered() == BROKERS, _START_SECONDS):
            raise ServerError(f"only {self.registered()} of {BROKERS} kafka brokers found each other")

    def registered(self) -> int:
        """How many brokers the cluster knows to be there; 0 if none answers."""
        try:
            return len(self._admin().list_topics(timeout=5).brokers)
        except KafkaException:
            return 0

    def stop(self) -> None:
        """End in an orderly way; `start` goes on with the same data and addresses."""
        self._each(KafkaServer.stop)
        if self._controller is not None:
            self._controller.stop()

    def kill(self) -> None:
        """SIGKILL for all of them."""
        self._each(KafkaServer.kill)
        if self._controller is not None:
            self._controller.kill()

    def close(self) -> None:
        """End all at once and remove their data."""
        self._each(KafkaServer.close)
        if self._controller is not None:
            self._controller.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _admin(self) -> AdminClient:
        up = ",".join(node.bootstrap_servers for node in self.brokers.values() if node.pid)
        return AdminClient({"bootstrap.servers": up, "log_level": 0, "socket.timeout.ms": 5000})

    def _each(self, action: Callable[[KafkaServer], None]) -> None:
        with ThreadPoolExecutor(BROKERS) as pool:
            for done in [pool.submit(action, node) for node in self.brokers.values()]:
                done.result()


class _Node(KafkaServer):
    """A broker whose ports are chosen before it starts: the others must know them."""

    def __init__(self, jars: Path | None) -> None:
        super().__init__(jars)
        self.port, self.controller_port = free_port(), free_port()

    def listening(self, *, controller: bool) -> dict[str, str]:
        own = f"PLAINTEXT://{HOST}:{self.port}"
        if not controller:
            return {"process.roles": "broker", "listeners": own}
        return {"listeners": f"{own},CONTROLLER://{HOST}:{self.controller_port}"}


class _Controller(KafkaServer):
    """A controller that is no broker."""

    name = "kafka-controller"

    def __init__(self, jars: Path | None) -> None:
        super().__init__(jars)
        self.port = free_port()
        self.settings = {"process.roles": "controller", "listeners": f"CONTROLLER://{HOST}:{self.port}"}

    def _command(self) -> Sequence[str]:
        self.settings["advertised.listeners"] = self.settings["listeners"]
        return super()._command()

    def _answers(self) -> bool:
        return listens(self.port)
