"""Local HTTP addresses as people write them. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether `127.0.0.1:8083`, `localhost` or `[::1]:8083` (a Host header, say) is this machine's own."""
    return re.fullmatch(r"(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d{1,5})?", host.lower()) is not None


def url(host: str, port: int) -> str:
    """`http://127.0.0.1:8083`."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def parse(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8083`, `http://127.0.0.1:8083/` or `[::1]:8083`.

    Raises:
        ValueError: not an address with a port.
    """
    parts = urlsplit(text if "//" in text else f"//{text}", scheme="http")
    if parts.scheme != "http" or not parts.hostname or parts.port is None or parts.path not in ("", "/"):
        raise ValueError("must be a host and a port, such as 127.0.0.1:8083")
    return parts.hostname, parts.port
