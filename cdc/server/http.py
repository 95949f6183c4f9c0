"""The local HTTP address: status, metrics, and commands to workers. Touches one listening socket and its threads.

Loopback only, without row values and secrets. A request must name a loopback host, so that no page
in a browser gets here through a name that was made to point here; and a command must be JSON by its
Content-Type, which no page may send to another place without being allowed to. No request holds SQL.
"""

from __future__ import annotations

import errno
import hmac
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol

import orjson

from cdc.asking import ACTIONS
from cdc.errors import CdcError
from cdc.server.address import is_loopback, url
from cdc.server.metrics import CONTENT_TYPE, render

LONGEST_BODY = 65536

COMMAND = re.compile(
    rf"/(?:(connector)s/([^/]+)/({'|'.join((*ACTIONS, 'restart'))})|(sink)s/([^/]+)/(restart))", re.ASCII
)


class Bridge(Protocol):
    """What answers; `cdc.supervisor.Supervisor` is one. Called from a thread for each request."""

    def status(self) -> Mapping[str, Any]: ...

    def ask(self, name: str, action: str, tables: Sequence[str]) -> Mapping[str, Any]: ...

    def restart(self, kind: Literal["connector", "sink"], name: str) -> Mapping[str, Any]: ...


class Server:
    """Answers from a thread of its own until `close()`.

    Args:
        host, port: where to listen; port 0 takes a free one.
        bridge: whose status and commands.
        token: what a command must show as `Authorization: Bearer …`; None: nothing.

    Raises:
        CdcError: the address is taken or not this machine's.
    """

    def __init__(self, host: str, port: int, bridge: Bridge, token: str | None = None) -> None:
        try:
            self._server = _Listener(host, port, bridge, token)
        except OSError as error:
            raise _refusal(url(host, port), error) from error
        self.url = url(host, self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; returns within about half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, bridge: Bridge, token: str | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.bridge, self.token = bridge, token
        super().__init__((host, port), _Request)

    def server_bind(self) -> None:
        # The standard library's own asks the resolver for our full name, which may take seconds.
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is no matter."""


class _Refused(Exception):
    """Answered with a status code and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class _Request(BaseHTTPRequestHandler):
    server: _Listener
    server_version = "cdc"
    sys_version = ""
    timeout = 5.0

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _get(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/status":
            self._send_json(200, self.server.bridge.status())
        elif path == "/metrics":
            self._send(200, CONTENT_TYPE, render(self.server.bridge.status()).encode())
        elif path == "/healthz":
            self._send_json(200, {"state": "running"})
        else:
            raise _Refused(404, "nothing here; there is /status, /metrics and /healthz")

    def _post(self) -> None:
        found = COMMAND.fullmatch(self.path)
        if found is None:
            raise _Refused(
                404, "no such command; there is POST /connectors/NAME/{snapshot,pause,resume,cancel,poll,restart}"
            )
        self._check_token()
        tables = self._tables()
        kind, name, action = (part for part in found.groups() if part is not None)
        bridge = self.server.bridge
        if action == "restart":
            document = bridge.restart("connector" if kind == "connector" else "sink", name)
        else:
            document = bridge.ask(name, action, tables)
        self._send_json(409 if "error" in document else 200, document)

    def _check_token(self) -> None:
        token = self.server.token
        shown = self.headers.get("Authorization", "")
        if token is not None and not hmac.compare_digest(shown.encode(), f"Bearer {token}".encode()):
            raise _Refused(401, "show the token of `server.token` as: Authorization: Bearer …")

    def _tables(self) -> list[str]:
        """The body: `{"tables": ["public.orders", …]}`, and nothing else."""
        if self.headers.get_content_type() != "application/json" or "Content-Type" not in self.headers:
            raise _Refused(415, "a command is sent as Content-Type: application/json")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,9}", length) or int(length) > LONGEST_BODY:
            raise _Refused(413, f"a command's body has a Content-Length of up to {LONGEST_BODY} bytes")
        try:
            body = orjson.loads(self.rfile.read(int(length)) or b"{}")
        except orjson.JSONDecodeError:
            raise _Refused(400, "the body is no JSON") from None
        tables = body.get("tables", []) if isinstance(body, dict) and body.keys() <= {"tables"} else None
        if not isinstance(tables, list) or not all(isinstance(table, str) for table in tables):
            raise _Refused(400, 'the body is {"tables": ["schema.table", …]}, and holds nothing else')
        return tables

    def _answer(self, action: Callable[[], None]) -> None:
        try:
            if not is_loopback(self.headers.get("Host", "")):
                raise _Refused(403, "ask by a loopback name")
            action()
        except _Refused as refused:
            self._send_json(refused.code, {"error": {"type": "Refused", "message": refused.message, "hint": None}})

    def _send_json(self, code: int, document: Mapping[str, Any]) -> None:
        self._send(code, "application/json", orjson.dumps(document))

    def _send(self, code: int, content_type: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line."""


def _refusal(address: str, error: OSError) -> CdcError:
    if error.errno == errno.EADDRINUSE:
        hint = "another `cdc run` perhaps; give this one its own with --listen, or `server.listen` in the settings"
        return CdcError(f"{address} is in use", hint=hint)
    return CdcError(f"cannot listen on {address}: {error.strerror}")
