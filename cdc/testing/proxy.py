"""A TCP proxy in front of a server, which stalls, cuts or loses connections when asked. Listens on 127.0.0.1.

What a network does to two programs: it is slow (`stall`: bytes are held, connections stay), it
ends connections (`cut`: both ends see a reset), or it forgets them (`lose`: both ends believe in
a connection that carries nothing any more, and neither is ever told). TCP's own timers do not
see the last one, as the proxy's host answers them: only what the programs themselves await does.

    with Proxy(postgres.port) as proxy:
        connection = psycopg.connect(f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres")
        proxy.stall()
        proxy.resume()
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast
from urllib.parse import quote

from cdc.testing.servers import KafkaServer, PostgresInstallation, PostgresServer
from cdc.testing.system import HOST, free_port

Mode = Literal["pass", "stall", "cut", "lose"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset."""

_ANSWER_SECONDS = 10.0


class Proxy:
    """Passes on what comes to `port` to a server; one thread for any number of connections.

    Args:
        server_port: where the server listens.
    """

    def __init__(self, server_port: int) -> None:
        self.port = free_port()
        self._server_port = server_port
        self._pairs: set[_Pair] = set()
        self._mode: Mode = "pass"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {self.port}", daemon=True)
        self._thread.start()
        listening = self._loop.create_server(lambda: _Leg(_Pair(self)), HOST, self.port)
        self._listener = asyncio.run_coroutine_threadsafe(listening, self._loop).result(_ANSWER_SECONDS)

    def lead_to(self, server_port: int) -> None:
        """Lead new connections to another server, as an address that moves at a promotion does."""
        self._server_port = server_port

    def stall(self) -> None:
        """Hold all bytes; new connections are taken, and wait."""
        self._set("stall")

    def cut(self) -> None:
        """Reset all connections, and every new one."""
        self._set("cut")

    def lose(self) -> None:
        """Swallow what either end sends, for ever, and close nothing; new connections are lost as well."""
        self._set("lose")

    def resume(self) -> None:
        """Pass bytes on again, held ones first. A connection that was lost stays lost."""
        self._set("pass")

    def close(self) -> None:
        """Reset everything and give the port back."""
        if not self._loop.is_closed():
            self._do(self._end)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_ANSWER_SECONDS)
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _set(self, mode: Mode) -> None:
        def change() -> None:
            self._mode = mode
            for pair in list(self._pairs):
                pair.follow(mode)

        self._do(change)

    def _end(self) -> None:
        self._listener.close()
        for pair in list(self._pairs):
            pair.lost = False
            pair.reset()

    def _do(self, action: Callable[[], None]) -> None:
        """Run it in the proxy's thread, and wait until it is done."""

        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(_ANSWER_SECONDS)


class _Pair:
    """A client's connection and the one to the server that goes with it."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._legs: list[_Leg] = []
        self._dialling: asyncio.Task[None] | None = None
        self.stalled = False
        self.lost = False

    def joined(self, leg: _Leg) -> None:
        """The client is there, and later the server."""
        proxy = self._proxy
        self._legs.append(leg)
        proxy._pairs.add(self)
        self.follow(proxy._mode)
        if len(self._legs) == 1 and not self.lost:
            self._dialling = proxy._loop.create_task(self._dial(proxy._server_port))

    async def _dial(self, port: int) -> None:
        try:
            await self._proxy._loop.create_connection(lambda: _Leg(self), HOST, port)
        except OSError:  # nobody listens there
            self.reset()

    def follow(self, mode: Mode) -> None:
        if mode == "cut" and not self.lost:
            self.reset()
            return
        self.lost = self.lost or mode == "lose"
        self.stalled = mode == "stall" and not self.lost
        self.settle()

    def settle(self) -> None:
        for leg in self._legs:
            leg.settle()

    def passing(self, source: _Leg, data: bytes) -> None:
        if not self.lost and (other := self._other(source)) is not None:
            other.transport.write(data)

    def waits(self, leg: _Leg) -> bool:
        """Whether `leg` may not be read for now."""
        if self.lost:
            return False
        other = self._other(leg)
        return self.stalled or other is None or other.full

    def reset(self) -> None:
        for leg in self._legs:
            leg.reset()
        if self._dialling is not None:
            self._dialling.cancel()
        self._proxy._pairs.discard(self)

    def ended(self, leg: _Leg, error: Exception | None) -> None:
        """One side is closed; the other learns of it, unless the connection is lost."""
        if self.lost:
            return
        if error is not None:
            self.reset()
        elif (other := self._other(leg)) is not None:
            other.transport.close()
            self._proxy._pairs.discard(self)

    def _other(self, leg: _Leg) -> _Leg | None:
        return next((each for each in self._legs if each is not leg), None)


class _Leg(asyncio.Protocol):
    """One of the two connections."""

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair
        self._reading = True
        self.full = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._pair.joined(self)

    def data_received(self, data: bytes) -> None:
        self._pair.passing(self, data)

    def pause_writing(self) -> None:
        self.full = True
        self._pair.settle()

    def resume_writing(self) -> None:
        self.full = False
        self._pair.settle()

    def connection_lost(self, error: Exception | None) -> None:
        self._pair.ended(self, error)

    def settle(self) -> None:
        """Read, or do not, as the pair says."""
        read = not self._pair.waits(self)
        if read is not self._reading and not self.transport.is_closing():
            self._reading = read
            (self.transport.resume_reading if read else self.transport.pause_reading)()

    def reset(self) -> None:
        end: Any = self.transport.get_extra_info("socket")
        if end is not None and not self.transport.is_closing():
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()


class ProxiedKafka(KafkaServer):
    """Apache Kafka with a proxy before one of its two listeners.

    `bootstrap_servers` leads straight to it. Clients of `behind_proxy` are told the proxy's
    address for everything, as a broker tells each client the address of the listener it came by.

    Args:
        jars, settings: as for KafkaServer.
    """

    def __init__(self, jars: Path | None = None, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(jars, settings=settings)
        self._far_port = free_port()
        self.proxy = Proxy(self._far_port)

    @property
    def behind_proxy(self) -> str:
        """Bootstrap servers for who is to come through the proxy."""
        return f"{HOST}:{self.proxy.port}"

    def close(self) -> None:
        self.proxy.close()
        super().close()

    def _choose_ports(self) -> None:
        super()._choose_ports()
        near, far, controller = self.port, self._far_port, self._controller_port
        self.settings |= {
            "listeners": f"PLAINTEXT://{HOST}:{near},FAR://{HOST}:{far},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{near},FAR://{HOST}:{self.proxy.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,FAR:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }


class ProxiedPostgres(PostgresServer):
    """A PostgreSQL server with a proxy before it; `url` leads straight to it.

    Args:
        installation, settings: as for PostgresServer.
    """

    def __init__(
        self, installation: PostgresInstallation | None = None, *, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(installation, settings=settings)
        self.proxy = Proxy(0)

    def url_behind_proxy(self, dbname: str) -> str:
        """For who is to come through the proxy."""
        return f"postgresql://postgres@{HOST}:{self.proxy.port}/{quote(dbname, safe='')}"

    def close(self) -> None:
        self.proxy.close()
        super().close()

    def _choose_ports(self) -> None:
        super()._choose_ports()
        self.proxy.lead_to(self.port)
