"""Reads the status of a running bridge. Touches one HTTP connection."""

from __future__ import annotations

import http.client
from typing import Any

import orjson

from cdc.errors import CdcError
from cdc.server.address import url

TIMEOUT_SECONDS = 5.0


def fetch_status(host: str, port: int) -> dict[str, Any]:
    """What `cdc run` at this address says of its workers.

    Raises:
        CdcError: nothing answers there, or something that is no bridge.
    """
    # Not urllib: it would send this through a proxy where the environment names one.
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/status")
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
    if not isinstance(document, dict) or not {"connectors", "sinks"} <= document.keys():
        raise _stranger(host, port)
    return document


def _stranger(host: str, port: int) -> CdcError:
    hint = "name the bridge's address with --listen"
    return CdcError(f"what answers at {url(host, port)} is not a bridge", hint=hint)
