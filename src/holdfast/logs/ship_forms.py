"""Lines of agents in the forms that log servers take: syslog (RFC 5424), Loki's push, OTLP over HTTP as JSON. Pure.

Invariant: the same lines give the same bytes, so that what is sent twice can be known as such. Called by ship_send.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

USER_INFO = 14  # facility user, severity informational: what an agent prints has no severity of its own
DATAGRAM_LINE_MAX_BYTES = 8192  # more does not get through many networks and servers
_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_NOT_PRINTABLE = re.compile(r"[^!-~]")


class Shipped(NamedTuple):
    """A line without its newline, and when it was captured."""

    at_ns: int
    text: bytes


def syslog(agent: str, host: str, line: Shipped) -> bytes:
    """One message, without framing."""
    seconds, ns = divmod(line.at_ns, 1_000_000_000)
    at = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns // 1000:06d}Z"
    head = f"<{USER_INFO}>1 {at} {_word(host, 255)} {_word(agent, 48)} - - - "
    return head.encode() + line.text.replace(b"\x00", b"\\x00")


def datagram(message: bytes) -> bytes:
    """Cut to what a datagram may carry."""
    return message if len(message) <= DATAGRAM_LINE_MAX_BYTES else message[: DATAGRAM_LINE_MAX_BYTES - 3] + b"..."


def framed(messages: Sequence[bytes]) -> bytes:
    """For a stream: each with its length in front (RFC 6587), so that nothing in a line can forge another."""
    return b"".join(b"%d " % len(message) + message for message in messages)


def loki(agent: str, host: str, labels: Mapping[str, str], lines: Sequence[Shipped]) -> bytes:
    """The body of POST /loki/api/v1/push."""
    own = {"job": "holdfast", "agent": agent, "host": host}
    named = {_label(key): value for key, value in labels.items()}
    values = [[str(line.at_ns), _text(line)] for line in lines]
    return json.dumps({"streams": [{"stream": {**named, **own}, "values": values}]}, ensure_ascii=False).encode()


def otlp(agent: str, host: str, labels: Mapping[str, str], lines: Sequence[Shipped]) -> bytes:
    """The body of POST /v1/logs."""
    about = {**labels, "service.name": agent, "host.name": host}
    records = [
        {"timeUnixNano": str(line.at_ns), "observedTimeUnixNano": str(line.at_ns), "body": {"stringValue": _text(line)}}
        for line in lines
    ]
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in about.items()]
    scope = {"scope": {"name": "holdfast"}, "logRecords": records}
    body = {"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": [scope]}]}
    return json.dumps(body, ensure_ascii=False).encode()


def _text(line: Shipped) -> str:
    return line.text.decode("utf-8", "replace")


def _label(key: str) -> str:
    name = _LABEL.sub("_", key)
    return f"_{name}" if name[:1].isdigit() or not name else name


def _word(text: str, most: int) -> str:
    return _NOT_PRINTABLE.sub("_", text)[:most] or "-"
