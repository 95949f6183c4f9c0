"""The proxy of the fault tests does to connections what a network does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from confluent_kafka import KafkaException, Producer

from cdc.testing.proxy import ProxiedKafka, Proxy
from cdc.testing.servers import KafkaServer, PostgresServer
from cdc.testing.system import HOST, wait_for
from tests.integration.test_servers import read_one, write_one

MEGABYTE = 1_000_000


@contextmanager
def echo() -> Iterator[int]:
    """A server that sends back what it gets; its port."""
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(client,), daemon=True).start()

        def answer(client: socket.socket) -> None:
            with client:
                try:
                    while data := client.recv(65536):
                        client.sendall(data)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with echo() as port, Proxy(port) as proxy:
        yield proxy


def connect(proxy: Proxy, timeout: float = 10) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=timeout)


def test_bytes_pass_in_order_both_ways(proxy: Proxy) -> None:
    data = bytes(range(256)) * (8 * MEGABYTE // 256)
    with connect(proxy) as client:
        threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
        assert _exactly(client, len(data)) == data


def test_an_end_is_passed_on_behind_the_last_bytes(proxy: Proxy) -> None:
    with socket.create_server((HOST, 0)) as server:
        proxy.lead_to(server.getsockname()[1])
        with connect(proxy) as client:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"x" * MEGABYTE)
            assert _exactly(client, MEGABYTE) == b"x" * MEGABYTE
            assert client.recv(1) == b""


def test_stalled_bytes_are_held_and_come_later(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"before")
        assert _exactly(client, 6) == b"before"
        proxy.stall()
        client.sendall(b"during")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        with connect(proxy) as late:
            late.sendall(b"new")
            proxy.resume()
            client.settimeout(10)
            assert _exactly(client, 6) == b"during"
            assert _exactly(late, 3) == b"new"


def test_a_cut_resets_what_is_there_and_what_comes_until_it_resumes(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"before")
        assert _exactly(client, 6) == b"before"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)
    proxy.resume()
    with connect(proxy) as client:
        client.sendall(b"after")
        assert _exactly(client, 5) == b"after"


def test_a_lost_connection_stays_open_and_silent_even_when_its_peer_is_gone(proxy: Proxy) -> None:
    with socket.create_server((HOST, 0)) as server:
        proxy.lead_to(server.getsockname()[1])
        with connect(proxy) as client:
            peer, _ = server.accept()
            proxy.lose()
            proxy.resume()
            client.sendall(b"x" * MEGABYTE)  # swallowed: more than any buffer on the way holds
            peer.close()
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(1)
            with connect(proxy), server.accept()[0]:
                pass


def test_nobody_listening_is_a_reset(proxy: Proxy) -> None:
    with socket.create_server((HOST, 0)) as server:
        nobody = server.getsockname()[1]
    proxy.lead_to(nobody)
    with pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)


def test_postgres_is_used_through_it(postgres: PostgresServer) -> None:
    with Proxy(postgres.port) as proxy:
        url = f"postgresql://postgres@{HOST}:{proxy.port}/postgres"
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT repeat('x', 1000) FROM generate_series(1, 5000)").fetchall()
            assert len(rows) == 5000
            proxy.cut()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")


def test_a_broker_behind_it_is_reached_through_it_alone(kafka: KafkaServer) -> None:
    with ProxiedKafka(kafka.jars) as server:
        write_one(server, "kept")
        producer = Producer({"bootstrap.servers": server.behind_proxy, "transactional.id": "far", "log_level": 0})
        producer.init_transactions(30)
        server.proxy.cut()
        producer.begin_transaction()
        producer.produce("kept", b"held up")
        with pytest.raises(KafkaException):
            producer.commit_transaction(1)
        assert read_one(server, "kept") == b"value"
        server.proxy.resume()
        assert wait_for(lambda: _committed(producer), 30)


def _committed(producer: Producer) -> bool:
    try:
        producer.commit_transaction(5)
    except KafkaException as raised:
        if not raised.args[0].retriable():
            raise
        return False
    return True


def _exactly(end: socket.socket, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        part = end.recv(min(count - len(got), 65536))
        assert part, "ended too soon"
        got += part
    return bytes(got)
