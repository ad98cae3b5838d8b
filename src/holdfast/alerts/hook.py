"""Sends one alert through one channel: a command, a webhook, or an ntfy-style push.

Invariant: every call ends within ALERT_TIMEOUT_S (a little more to kill a command) with an Outcome, never an
exception; secrets in URLs never reach a reason. Called by the keeper through `outbox.py` and `alerts/test`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import ssl
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from holdfast import limits
from holdfast.spec.model import AlertChannel


class Alert(Struct, frozen=True, kw_only=True):
    """What a person is told. The JSON that commands and webhooks receive is exactly this."""

    kind: str  # "alert" or "test"
    agent: str
    title: str
    text: str
    at: float
    incident: str = ""
    cause: str = ""
    exit: str = ""
    tiers: tuple[int, ...] = ()
    next: str = ""
    host: str = ""
    postmortem: str | None = None
    log_lines: tuple[str, ...] = ()


class Outcome(Struct, frozen=True, kw_only=True):
    channel: str
    ok: bool
    reason: str = ""


def channel_words(channel: AlertChannel) -> str:
    """The channel for people: no path, no query, no user name of a URL, since tokens live there."""
    if channel.command:
        return f"command {channel.command[0]}"
    kind, url = ("webhook", channel.webhook) if channel.webhook else ("ntfy", channel.ntfy or "")
    return f"{kind} {urlsplit(url or '').hostname or '?'}"


async def send(channel: AlertChannel, alert: Alert, timeout_s: float = limits.ALERT_TIMEOUT_S) -> Outcome:
    """Try once."""
    words = channel_words(channel)
    try:
        if channel.command:
            reason = await _run(channel.command, msgspec.json.encode(alert), timeout_s)
        elif channel.webhook:
            headers = {"Content-Type": "application/json"}
            reason = await _in_time(channel.webhook, msgspec.json.encode(alert), headers, timeout_s)
        elif channel.ntfy:
            reason = await _in_time(channel.ntfy, alert.text.encode(), _ntfy_headers(alert), timeout_s)
        else:
            reason = "the channel names neither command, webhook nor ntfy"
    except Exception as error:  # whatever a channel does, healing goes on
        reason = _without_urls(error)
    return Outcome(channel=words, ok=not reason, reason=reason)


async def _run(command: tuple[str, ...], payload: bytes, timeout_s: float) -> str:
    """Feed the alert to a command; "" when it exits 0."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return error.strerror or str(error)
    try:
        async with asyncio.timeout(timeout_s):
            _, stderr = await process.communicate(payload)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return f"did not end within {timeout_s:g} s"
    if process.returncode == 0:
        return ""
    last = stderr.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1][:200]
    return f"exit {process.returncode}" + (f": {last}" if last else "")


async def _in_time(url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> str:
    try:
        async with asyncio.timeout(timeout_s):
            return await _post(url, body, headers)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"


async def _post(url: str, body: bytes, headers: dict[str, str]) -> str:
    """One HTTP/1.1 POST, no redirects; "" for a 2xx. In the loop, so that no thread outlives its deadline."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "the address is no http:// or https:// URL"
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
    try:
        writer.write(_request(url, body, headers))
        await writer.drain()
        status_line = (await reader.readline()).decode("latin-1").strip()
    finally:
        writer.transport.abort()
    words = status_line.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        return "the answer was not HTTP"
    if words[1].startswith("2"):
        return ""
    return f"HTTP {' '.join(words[1:])}"[:200]


def _request(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", "Connection: close"]
    if parts.username is not None:
        pair = f"{parts.username}:{parts.password or ''}".encode()
        lines.append(f"Authorization: Basic {base64.b64encode(pair).decode()}")
    lines += [f"{name}: {_header(value)}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def _ntfy_headers(alert: Alert) -> dict[str, str]:
    urgent = alert.kind != "test"
    return {
        "Title": alert.title,
        "Priority": "high" if urgent else "default",
        "Tags": "rotating_light" if urgent else "white_check_mark",
        "Content-Type": "text/plain; charset=utf-8",
    }


def _header(value: str) -> str:
    """A header value cannot hold line ends; beyond ASCII it travels as RFC 2047."""
    plain = " ".join(value.split())
    if plain.isascii():
        return plain
    return f"=?UTF-8?B?{base64.b64encode(plain.encode()).decode()}?="


def _without_urls(error: Exception) -> str:
    """An exception in words that cannot carry a token."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
