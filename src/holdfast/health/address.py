"""From a probe's URL to what the engine connects to and sends. Pure; nothing here asks a name server.

A probe must never wait for DNS, so only literal addresses, `localhost` and Unix sockets are understood. Called by the
probe engine; `parse` is also fit for checking a URL before it is used.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit

Target = tuple[int, str | tuple[str, int]]  # address family, what connect() takes

LOCALHOST = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    """`targets` are tried in order until one does not refuse; `request` is the whole GET."""

    targets: tuple[Target, ...]
    request: bytes
    port: int | None  # None: a Unix socket


@lru_cache(maxsize=8192)
def parse(url: str) -> Address:
    """Raises ValueError with one clause that tells a user what to write instead."""
    parts = urlsplit(url)
    if any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise ValueError("a probe URL holds no blanks or control characters")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme == "http+unix":
        return _unix(parts.netloc, path)
    if parts.scheme == "https":
        raise ValueError("https is not probed: give the agent's plain http:// address on this machine")
    if parts.scheme != "http":
        raise ValueError(f"{url!r} is no probe URL: write http://127.0.0.1:PORT/PATH")
    if parts.username is not None:
        raise ValueError("a probe URL carries no user or password")
    host = parts.hostname or ""
    try:
        port = parts.port or 80
    except ValueError:
        raise ValueError(f"{url!r} has no valid port: 1 to 65535") from None
    shown = f"[{host}]" if ":" in host else host
    return Address(tuple(_target(name, port) for name in _literals(host)), _request(f"{shown}:{port}", path), port)


def _unix(netloc: str, path: str) -> Address:
    socket_path = unquote(netloc)
    if not socket_path.startswith("/"):
        raise ValueError("a Unix socket is written http+unix://%2Fabsolute%2Fpath.sock/PATH")
    return Address(((int(socket.AF_UNIX), socket_path),), _request("localhost", path), None)


def _literals(host: str) -> tuple[str, ...]:
    if host == "localhost":
        return LOCALHOST
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        raise ValueError(f"host {host!r} is not understood: a probe takes localhost or an IP address") from None


def _target(host: str, port: int) -> Target:
    return (int(socket.AF_INET6 if ":" in host else socket.AF_INET), (host, port))


def _request(host: str, path: str) -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: holdfast",
        "Accept: application/json, */*;q=0.1",
        "Connection: keep-alive",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii", "strict")
