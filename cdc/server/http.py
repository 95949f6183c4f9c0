"""The local HTTP address: GET /status and /healthz. Touches one listening socket and its threads.

Loopback only, read only, without row values and secrets. A request must name a loopback
host, so that no page in a browser reads it through a name that was made to point here.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from cdc.errors import CdcError
from cdc.server.address import is_loopback, url

Answers = Mapping[str, Callable[[], Mapping[str, Any]]]
"""Path → what is answered there, as JSON."""


class Server:
    """Answers from a thread of its own until `close()`.

    Args:
        host, port: where to listen; port 0 takes a free one.
        status: what /status answers, called for each request.

    Raises:
        CdcError: the address is taken or not this machine's.
    """

    def __init__(self, host: str, port: int, status: Callable[[], Mapping[str, Any]]) -> None:
        answers: Answers = {"/status": status, "/healthz": lambda: {"state": "running"}}
        try:
            self._server = _Listener(host, port, answers)
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

    def __init__(self, host: str, port: int, answers: Answers) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.answers = answers
        super().__init__((host, port), _Request)

    def server_bind(self) -> None:
        # The standard library's own asks the resolver for our full name, which may take seconds.
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is no matter."""


class _Request(BaseHTTPRequestHandler):
    server: _Listener
    server_version = "cdc"
    sys_version = ""
    timeout = 5.0

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path.partition("?")[0])
        if not is_loopback(self.headers.get("Host", "")):
            self._send(403, {"error": "ask by a loopback name"})
        elif answer is None:
            self._send(404, {"error": f"nothing here; there is {' and '.join(self.server.answers)}"})
        else:
            self._send(200, answer())

    def _send(self, code: int, document: Mapping[str, Any]) -> None:
        body = orjson.dumps(document)
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
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
