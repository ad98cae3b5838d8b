"""Asks a running OpenClaw gateway how it works: its channels and its event loop, over its own WebSocket RPC.

Run by the keeper's prober as the agent's user: `python -I -S -c THIS PORT CONFIG`, or with `rest` or `go-on` behind it:
then the gateway is suspended for the moment of a snapshot, if nothing is under way, or let go. The token is read from
the gateway's own configuration or environment and never leaves this process. Prints one JSON line
{"judgement", "detail", "facts"}. Invariant: it never says failing. Its liveness is asked over HTTP; a gateway whose
RPC is busy, refuses us or stands still while that answers is shown, not restarted, for a restart costs a minute, and
three unclean ones in five minutes make the gateway's own breaker leave its channels off. What is left of that breaker
is seen here as channels that are enabled and do not run. Its database is not opened: readers from outside beside a
live gateway were seen to damage it. Standard library only, so that any Python the agent's user can run will do.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

PROTOCOL = 4
OPEN_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0  # 0.1 s idle, 8 s seen on a loaded machine
MESSAGE_MAX_BYTES = 16 * 1024 * 1024
CONFIG_MAX_BYTES = 4 * 1024 * 1024
CHANNELS_NAMED = 4
BLOCKERS_NAMED = 3
REQUEST = {"requestId": "holdfast-snapshot"}  # always the same, so that a suspension whose answer was lost is found
Told = tuple[str, str, dict[str, Any]]  # judgement, detail, facts


class Refused(Exception):
    """The gateway answered that it will not; the text says why."""


# --- judging: pure -----------------------------------------------------------------------------------------------
def judge(status: dict[str, Any], server: dict[str, Any]) -> Told:
    """What the answer of `channels.status` means. `server`: what the handshake told of the gateway."""
    loop = status.get("eventLoop") or {}
    accounts = list(_accounts(status))
    silent = [words for words in map(_silence, accounts) if words]
    facts = {
        "version": server.get("version", ""),
        "channels": sum(1 for _, account in accounts if _is_wanted(account)),
        "channels_down": len(silent),
        "event_loop_p99_ms": loop.get("delayP99Ms"),
        "event_loop_degraded": bool(loop.get("degraded")),
    }
    said: list[str] = []
    if silent:
        more = f" and {len(silent) - CHANNELS_NAMED} more" if len(silent) > CHANNELS_NAMED else ""
        said.append("; ".join(silent[:CHANNELS_NAMED]) + more)
    if loop.get("degraded"):
        reasons = ", ".join(str(one) for one in loop.get("reasons") or ()) or "slow"
        said.append(f"its event loop is degraded ({reasons}; {loop.get('delayP99Ms')} ms at the 99th percentile)")
    return ("degraded", "; ".join(said), facts) if said else ("ok", "", facts)


def _accounts(status: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = status.get("channelAccounts")
    pairs = found.items() if isinstance(found, dict) else ()
    return [
        (str(channel), account)
        for channel, accounts in pairs
        for account in (accounts if isinstance(accounts, list) else [])
        if isinstance(account, dict)
    ]


def _is_wanted(account: dict[str, Any]) -> bool:
    return account.get("enabled") is not False and account.get("configured") is True


def _silence(named: tuple[str, dict[str, Any]]) -> str:
    """Why a channel that is wanted receives nothing; "" when it does, or when it does not say."""
    channel, account = named
    if not _is_wanted(account):
        return ""
    name = channel if account.get("accountId") in (None, "default") else f"{channel}/{account['accountId']}"
    reason = f": {account['lastError']}" if account.get("lastError") else ""
    if account.get("running") is False:
        return f"channel {name} does not run{reason}"
    if account.get("connected") is False:
        return f"channel {name} is not connected{reason}"
    return ""


# --- the configuration -------------------------------------------------------------------------------------------
_JSON5 = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<comment>//[^\n]*|/\*.*?\*/)"""
    r"""|(?P<comma>,)(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])|(?P<key>[A-Za-z_$][\w$]*)(?=\s*:)""",
    re.DOTALL,
)


def parse_json5(text: str) -> Any:
    """JSON with comments, trailing commas, bare keys and single quotes. Raises ValueError."""

    def plain(match: re.Match[str]) -> str:
        if match["comment"] is not None or match["comma"] is not None:
            return ""
        if match["key"] is not None:
            return json.dumps(match["key"])
        string = match["string"]
        if string[0] == '"':
            return string
        return '"' + string[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'

    return json.loads(_JSON5.sub(plain, text))


def credentials(config: Any, env: dict[str, str]) -> dict[str, str]:
    """What opens the gateway. Raises Refused when that cannot be told from here."""
    auth = config.get("gateway", {}).get("auth", {}) if isinstance(config, dict) else {}
    auth = auth if isinstance(auth, dict) else {}
    for name, variable in (("token", "OPENCLAW_GATEWAY_TOKEN"), ("password", "OPENCLAW_GATEWAY_PASSWORD")):
        value = auth.get(name)
        if isinstance(value, str) and value:
            value = re.sub(r"\$\{(\w+)\}", lambda match: env.get(match[1], ""), value)
        else:
            value = env.get(variable, "")
        if value:
            return {name: value}
    if auth.get("mode") == "none":
        return {}
    raise Refused("neither its configuration nor its environment holds a token that can be read")


# --- asking ------------------------------------------------------------------------------------------------------
class Channel:
    """One WebSocket connection, as much of it as this needs: whole text messages, pings answered."""

    def __init__(self, port: int) -> None:
        """Raises OSError, TimeoutError or Refused."""
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=OPEN_TIMEOUT_S)
        self._file = self._sock.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET / HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "User-Agent: holdfast", "", "",
        )  # fmt: skip
        self._sock.sendall("\r\n".join(lines).encode())
        status = self._file.readline(4096)
        while self._file.readline(8192).strip():
            pass
        if b" 101 " not in status:
            raise Refused("it takes no WebSocket on its port")
        self._sock.settimeout(ANSWER_TIMEOUT_S)

    def close(self) -> None:
        try:
            self._send(0x8, (1000).to_bytes(2, "big"))
        except OSError:
            pass
        self._file.close()
        self._sock.close()

    def send(self, text: str) -> None:
        self._send(0x1, text.encode())

    def receive(self) -> str:
        """The next text message. Raises OSError, TimeoutError or Refused."""
        whole = b""
        while True:
            first, second = self._exactly(2)
            length = second & 0x7F
            if length > 125:
                length = int.from_bytes(self._exactly(2 if length == 126 else 8), "big")
            if len(whole) + length > MESSAGE_MAX_BYTES:
                raise Refused("its answer is too large")
            data, kind = self._exactly(length), first & 0x0F
            if kind == 0x8:
                raise Refused(f"it hung up: {data[2:].decode('utf-8', 'replace')[:80] or 'no reason given'}")
            if kind == 0x9:
                self._send(0xA, data)
            elif kind in (0x0, 0x1, 0x2):
                whole += data
                if first & 0x80:
                    return whole.decode("utf-8", "replace")

    def _send(self, kind: int, data: bytes) -> None:
        length = len(data)
        size = bytes([0x80 | length]) if length < 126 else bytes([0x80 | 126]) + length.to_bytes(2, "big")
        if length > 0xFFFF:
            size = bytes([0x80 | 127]) + length.to_bytes(8, "big")
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(data))
        self._sock.sendall(bytes([0x80 | kind]) + size + mask + masked)

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise Refused("it hung up")
        return data


def status(port: int, auth: dict[str, str]) -> Told:
    """Its channels and its event loop. Raises as `ask`."""
    told, hello = ask(port, auth, "operator.read", lambda channel: _call(channel, "channels.status", {"probe": False}))
    return judge(told, dict(hello.get("server") or {}))


def rest(port: int, auth: dict[str, str]) -> Told:
    """Suspend it, unless something is under way: "ok" when it rests. Raises as `ask`."""
    told, _ = ask(port, auth, "operator.admin", lambda channel: _call(channel, "gateway.suspend.prepare", REQUEST))
    if told.get("status") == "ready":
        return "ok", "", {"expires_at_ms": told.get("expiresAtMs")}
    said = [str(one.get("message") or one.get("kind")) for one in told.get("blockers") or () if isinstance(one, dict)]
    return "degraded", "; ".join(said[:BLOCKERS_NAMED]) or str(told.get("reason") or told.get("status")), {}


def go_on(port: int, auth: dict[str, str]) -> Told:
    """Let it go. The same request again names the suspension it belongs to, also when its answer never came."""

    def release(channel: Channel) -> dict[str, Any]:
        held = _call(channel, "gateway.suspend.prepare", REQUEST)
        if held.get("suspensionId"):
            return _call(channel, "gateway.suspend.resume", {"suspensionId": held["suspensionId"]})
        return {}

    told, _ = ask(port, auth, "operator.admin", release)
    return "ok", "", {"resumed": bool(told.get("resumed"))}


ACTS: dict[str, Callable[[int, dict[str, str]], Told]] = {"": status, "rest": rest, "go-on": go_on}


def ask(
    port: int, auth: dict[str, str], scope: str, act: Callable[[Channel], dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `act` was told, and the handshake. Raises Refused, OSError or TimeoutError."""
    channel = Channel(port)
    try:
        hello = _call(channel, "connect", _introduction(auth, scope))
        return act(channel), hello
    finally:
        channel.close()


def _introduction(auth: dict[str, str], scope: str) -> dict[str, Any]:
    """A local back end with the shared token: needs no paired device, and may do no more than it asks for."""
    client = {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "backend"}
    return {
        "minProtocol": PROTOCOL, "maxProtocol": PROTOCOL, "client": client, "role": "operator",
        "scopes": [scope], "caps": [], "commands": [], "permissions": {}, "auth": auth,
        "locale": "en-US", "userAgent": "holdfast",
    }  # fmt: skip


def _call(channel: Channel, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """One request and its answer; events in between are passed over. Raises Refused or TimeoutError."""
    channel.send(json.dumps({"type": "req", "id": method, "method": method, "params": params}))
    deadline_mono = time.monotonic() + ANSWER_TIMEOUT_S
    while True:
        told = json.loads(channel.receive())
        if isinstance(told, dict) and told.get("type") == "res" and told.get("id") == method:
            if told.get("ok"):
                return dict(told.get("payload") or {})
            error = told.get("error") or {}
            raise Refused(f"{method}: {error.get('message') or error.get('code') or 'refused'}")
        if time.monotonic() > deadline_mono:
            raise TimeoutError


def look(port: int, config_path: str, env: dict[str, str], what: str = "") -> Told:
    """One of ACTS, as one judgement. Never raises for what may be wrong with a gateway."""
    try:
        with open(config_path, encoding="utf-8") as file:
            config = parse_json5(file.read(CONFIG_MAX_BYTES))
    except FileNotFoundError:
        config = {}
    except (OSError, ValueError) as error:
        return "unknown", f"its configuration cannot be read: {type(error).__name__}", {}
    try:
        return ACTS[what](port, credentials(config, env))
    except Refused as error:
        return "unknown", f"its RPC: {error}", {}
    except TimeoutError:
        return "unknown" if what else "degraded", f"its RPC did not answer in {ANSWER_TIMEOUT_S:.0f} s", {}
    except (OSError, ValueError) as error:
        return "unknown", f"its RPC cannot be reached: {getattr(error, 'strerror', None) or error}", {}


def main(arguments: list[str]) -> int:
    judgement, detail, facts = look(int(arguments[0]), arguments[1], dict(os.environ), *arguments[2:3])
    print(json.dumps({"judgement": judgement, "detail": detail, "facts": facts}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
