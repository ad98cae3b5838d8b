"""Alert channels against real receivers on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from holdfast.alerts import hook, outbox
from holdfast.alerts.hook import Alert
from holdfast.spec.model import AlertChannel

ALERT = Alert(kind="alert", agent="scout", title="scout: Hilfe für dich", text="scout could not be healed", at=1.0)


class Receiver:
    """Answers every request with `status` and keeps what came."""

    def __init__(self, status: str = "200 OK") -> None:
        self.status = status
        self.requests: list[bytes] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
        self.requests.append(head + await reader.readexactly(length))
        writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()


def test_a_command_gets_the_alert_as_json_on_standard_input(tmp_path: Path) -> None:
    target = tmp_path / "got.json"
    script = f"import sys, pathlib; pathlib.Path({str(target)!r}).write_text(sys.stdin.read())"
    outcome = asyncio.run(hook.send(AlertChannel(command=(sys.executable, "-c", script)), ALERT))
    assert outcome.ok
    assert json.loads(target.read_text())["agent"] == "scout"


def test_a_failing_command_says_its_last_words() -> None:
    script = "import sys; sys.stderr.write('first\\nno network'); sys.exit(3)"
    outcome = asyncio.run(hook.send(AlertChannel(command=(sys.executable, "-c", script)), ALERT))
    assert (outcome.ok, outcome.reason) == (False, "exit 3: no network")


def test_a_missing_command_is_a_reason_and_no_exception() -> None:
    outcome = asyncio.run(hook.send(AlertChannel(command=("/no/such/program",)), ALERT))
    assert not outcome.ok
    assert "No such file" in outcome.reason


def test_a_command_that_hangs_is_killed() -> None:
    outcome = asyncio.run(hook.send(AlertChannel(command=("sleep", "600")), ALERT, timeout_s=0.2))
    assert outcome.reason == "did not end within 0.2 s"


def test_a_webhook_gets_json_and_its_password_as_basic_authorization() -> None:
    async def scenario() -> tuple[hook.Outcome, bytes]:
        async with Receiver().listening() as receiver:
            url = f"http://user:pw@127.0.0.1:{receiver.port}/hook?token=abc"
            return await hook.send(AlertChannel(webhook=url), ALERT), receiver.requests[0]

    outcome, request = asyncio.run(scenario())
    assert outcome.ok
    assert outcome.channel == "webhook 127.0.0.1"
    assert request.startswith(b"POST /hook?token=abc HTTP/1.1\r\n")
    assert b"Authorization: Basic dXNlcjpwdw==" in request
    assert json.loads(request.split(b"\r\n\r\n", 1)[1])["text"] == "scout could not be healed"


def test_ntfy_gets_the_text_with_an_encoded_title() -> None:
    async def scenario() -> bytes:
        async with Receiver().listening() as receiver:
            await hook.send(AlertChannel(ntfy=f"http://127.0.0.1:{receiver.port}/topic"), ALERT)
            return receiver.requests[0]

    request = asyncio.run(scenario())
    assert b"Title: =?UTF-8?B?" in request
    assert b"Priority: high" in request
    assert request.endswith(b"scout could not be healed")


def test_a_refusing_webhook_is_no_delivery() -> None:
    async def scenario() -> hook.Outcome:
        async with Receiver("500 Oops").listening() as receiver:
            return await hook.send(AlertChannel(webhook=f"http://127.0.0.1:{receiver.port}/secret-path"), ALERT)

    outcome = asyncio.run(scenario())
    assert (outcome.ok, outcome.reason) == (False, "HTTP 500 Oops")


def test_a_closed_port_is_a_reason_without_the_address() -> None:
    outcome = asyncio.run(hook.send(AlertChannel(webhook="http://127.0.0.1:1/token"), ALERT))
    assert not outcome.ok
    assert "token" not in outcome.reason


def test_an_alert_stays_until_every_channel_took_it() -> None:
    first, second = AlertChannel(command=("a",)), AlertChannel(command=("b",))
    waiting = outbox.Waiting(id="i", alert=ALERT, raised_at=0.0, next_at=0.0)
    changed = outbox.after(waiting, [first], (first, second), 5.0)
    assert changed is not None
    assert outbox.open_channels(changed, (first, second)) == [second]
    assert changed.next_at == 15.0
    assert outbox.after(changed, [second], (first, second), 20.0) is None


def test_a_week_old_alert_is_given_up() -> None:
    channel = AlertChannel(command=("a",))
    waiting = outbox.Waiting(id="i", alert=ALERT, raised_at=0.0, next_at=0.0)
    assert outbox.after(waiting, [], (channel,), 8 * 86_400.0) is None


def test_retries_double_up_to_an_hour() -> None:
    assert [outbox.retry_delay_s(tries) for tries in (1, 2, 3, 30)] == [10.0, 20.0, 40.0, 3600.0]
