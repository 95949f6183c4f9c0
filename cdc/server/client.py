"""Asks a running bridge: its status, and commands to its workers. Touches one HTTP connection."""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cdc.errors import CdcError, Gap, Refused
from cdc.server.address import url

TIMEOUT_SECONDS = 5.0
COMMAND_SECONDS = 40.0
"""Longer than the bridge waits for its worker."""


def fetch_status(host: str, port: int) -> dict[str, Any]:
    """What `cdc run` at this address says of its workers.

    Raises:
        CdcError: nothing answers there, or something that is no bridge.
    """
    document = _request(host, port, TIMEOUT_SECONDS, "GET", "/status")
    if not {"connectors", "sinks"} <= document.keys():
        raise _stranger(host, port)
    return document


def send_command(
    host: str,
    port: int,
    kind: str,
    name: str,
    action: str,
    tables: Sequence[str] = (),
    token: str | None = None,
) -> str:
    """Send a command to a worker of the bridge at this address; returns its answer, a sentence.

    Args:
        kind: `connector` or `sink`.
        action: `restart`, or of a connector what `Connector.ask` takes.
        token: `server.token` of the bridge.
    Raises:
        CdcError: as `fetch_status`; and what the worker, or the bridge for it, refuses.
    """
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    body = orjson.dumps({"tables": list(tables)})
    document = _request(host, port, COMMAND_SECONDS, "POST", f"/{kind}s/{name}/{action}", body, headers)
    error = document.get("error")
    if isinstance(error, dict):
        form = {"Gap": Gap, "Refused": Refused}.get(str(error.get("type")), CdcError)
        raise form(str(error.get("message")), hint=error.get("hint"))
    if not isinstance(document.get("answer"), str):
        raise _stranger(host, port)
    return str(document["answer"])


def _request(
    host: str,
    port: int,
    seconds: float,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    # Not urllib: it would send this through a proxy where the environment names one.
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        document = orjson.loads(response.read())
    except ConnectionRefusedError as error:
        raise CdcError(
            f"no bridge runs here: nothing answers at {url(host, port)}",
            hint="start it with `cdc run`, or name its address with --listen",
        ) from error
    except OSError as error:
        raise CdcError(f"no answer from {url(host, port)}: {error.strerror or 'timed out'}") from error
    except (http.client.HTTPException, orjson.JSONDecodeError) as error:
        raise _stranger(host, port) from error
    finally:
        connection.close()
    if not isinstance(document, dict):
        raise _stranger(host, port)
    return document


def _stranger(host: str, port: int) -> CdcError:
    hint = "name the bridge's address with --listen"
    return CdcError(f"what answers at {url(host, port)} is not a bridge", hint=hint)
