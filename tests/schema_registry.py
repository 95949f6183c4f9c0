"""A schema registry for tests: Confluent's REST interface as far as the bridge uses it, in memory.

No registry that could be run here was to be had as a package (see docs/formats.md), so this is a stand-in: what it
answers is Confluent's documented interface, and whether a schema is compatible is decided by Apache Avro's own
`avro.compatibility`. Its clients are Confluent's.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType


class SchemaRegistry:
    """What it holds, and how it shall behave.

    Args:
        login: `user:password` that it asks for; None: nobody's.
    """

    def __init__(self, login: str | None = None) -> None:
        self.login = login
        self.schemas: list[str] = []
        self.subjects: dict[str, list[int]] = {}
        self.requests: list[str] = []
        self.failing: int | None = None
        self.url = ""

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and document for a request."""
        self.requests.append(f"{method} {path}")
        if self.failing is not None:
            return self.failing, {"error_code": self.failing * 100 + 1, "message": "told to fail"}
        for pattern, handler in (
            (r"GET /subjects", self._all),
            (r"POST /subjects/([^/]+)", self._lookup),
            (r"POST /subjects/([^/]+)/versions", self._register),
            (r"GET /subjects/([^/]+)/versions/latest", self._latest),
            (r"POST /compatibility/subjects/([^/]+)/versions/latest", self._check),
            (r"GET /schemas/ids/(\d+)", self._by_id),
        ):
            found = re.fullmatch(pattern, f"{method} {path}")
            if found:
                return handler(*[unquote(part) for part in found.groups()], body=body)
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def schema(self, schema_id: int) -> Any:
        return json.loads(self.schemas[schema_id - 1])

    def latest(self, subject: str) -> Any:
        return self.schema(self.subjects[subject][-1])

    def _all(self, body: dict[str, Any]) -> tuple[int, Any]:
        return 200, sorted(self.subjects)

    def _lookup(self, subject: str, body: dict[str, Any]) -> tuple[int, Any]:
        if subject not in self.subjects:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        for version, schema_id in enumerate(self.subjects[subject], start=1):
            if self.schemas[schema_id - 1] == body["schema"]:
                return 200, {"subject": subject, "id": schema_id, "version": version, "schema": body["schema"]}
        return 404, {"error_code": 40403, "message": "Schema not found"}

    def _register(self, subject: str, body: dict[str, Any]) -> tuple[int, Any]:
        try:
            avro.schema.parse(body["schema"])
        except avro.schema.AvroException as error:
            return 422, {"error_code": 42201, "message": f"Invalid schema: {error}"}
        if subject in self.subjects and not self._compatible(self.latest(subject), json.loads(body["schema"])):
            return 409, {"error_code": 409, "message": "Schema being registered is incompatible with an earlier schema"}
        if body["schema"] not in self.schemas:
            self.schemas.append(body["schema"])
        schema_id = self.schemas.index(body["schema"]) + 1
        if schema_id not in self.subjects.setdefault(subject, []):
            self.subjects[subject].append(schema_id)
        return 200, {"id": schema_id}

    def _latest(self, subject: str, body: dict[str, Any]) -> tuple[int, Any]:
        if subject not in self.subjects:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        schema_id = self.subjects[subject][-1]
        versions = len(self.subjects[subject])
        return 200, {"subject": subject, "id": schema_id, "version": versions, "schema": self.schemas[schema_id - 1]}

    def _check(self, subject: str, body: dict[str, Any]) -> tuple[int, Any]:
        return 200, {"is_compatible": self._compatible(self.latest(subject), json.loads(body["schema"]))}

    def _by_id(self, schema_id: str, body: dict[str, Any]) -> tuple[int, Any]:
        if int(schema_id) > len(self.schemas):
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, {"schema": self.schemas[int(schema_id) - 1]}

    @staticmethod
    def _compatible(latest: Any, wanted: Any) -> bool:
        """BACKWARD, the registry's default: who has the new schema can read what was written by the latest one."""
        reader, writer = (avro.schema.parse(json.dumps(schema)) for schema in (wanted, latest))
        verdict = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
        return verdict.compatibility is SchemaCompatibilityType.compatible


@contextmanager
def running(login: str | None = None, port: int = 0) -> Iterator[SchemaRegistry]:
    """A registry that answers at its `url`."""
    registry = SchemaRegistry(login)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            wanted = None if login is None else "Basic " + base64.b64encode(login.encode()).decode()
            if wanted is not None and self.headers.get("Authorization") != wanted:
                status, document = 401, {"error_code": 401, "message": "Unauthorized"}
            else:
                status, document = registry.answer(self.command, urlsplit(self.path).path, body)
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    registry.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
