"""Agents are asked for memory by a signal, a POST or a command: only who can be asked, and never for long."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.healing.model import Ladder, Policy
from holdfast.health.command import Ran
from holdfast.keeper.agent import Agent, Memory, World
from holdfast.keeper.density.asking import Asking, failed, post, send
from holdfast.keeper.tasks import Tasks
from holdfast.node.processes import starttime
from holdfast.spec import model
from holdfast.spec.model import AgentSpec, AskMemory

HANDLES = (
    # By os.write: a handler that prints while "ready" is still being printed would end the program.
    "import os, signal; signal.signal(signal.SIGUSR2, lambda *_: os.write(1, b'asked\\n')); os.write(1, b'ready\\n')"
)
WAITS = f"{HANDLES}\nwhile True: signal.pause()"


def test_a_signal_goes_only_to_who_handles_it() -> None:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", WAITS], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        began = starttime(process.pid) or 0
        assert send(process.pid, began + 1, signal.SIGUSR2) == "it is gone"
        assert "does not handle SIGHUP" in send(process.pid, began, signal.SIGHUP)
        assert send(process.pid, began, signal.SIGUSR2) == ""
        assert process.stdout.readline() == "asked\n"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("ran", "why"),
    [
        (Ran(code=0), ""),
        (Ran(code=3), "the command ended with code 3"),
        (Ran(signal="SIGKILL"), "the command was ended by SIGKILL"),
        (Ran(broken="no such program"), "no such program"),
        (Ran(timed_out=True), "the command did not end within 5 s"),
    ],
)
def test_what_became_of_a_command(ran: Ran, why: str) -> None:
    assert failed(ran) == why


def test_a_url_is_posted_to_with_the_bytes_that_are_missing() -> None:
    heard: list[bytes] = []

    async def inside() -> tuple[str, str]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            heard.append(head.splitlines()[0] + b" " + await reader.readexactly(len(b'{"bytes": 7}')))
            writer.write(b"HTTP/1.1 204 x\r\n\r\n" if len(heard) == 1 else b"HTTP/1.1 500 x\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/free?now=1"
            return await post(url, {"bytes": 7}), await post(url, {"bytes": 7})

    assert asyncio.run(inside()) == ("", "it answered 500")
    assert heard[0] == b'POST /free?now=1 HTTP/1.1 {"bytes": 7}'


def test_an_agent_is_asked_once_at_a_time_and_it_is_recorded() -> None:
    said: list[tuple[str, str]] = []
    runs: list[dict[str, str]] = []

    class Recorder:
        def record(self, kind: str, agent: str, text: str, body: Any) -> None:
            said.append((kind, text))

    async def run(agent: Agent, argv: tuple[str, ...], env: dict[str, str], timeout_s: float) -> Ran:
        runs.append(env)
        return Ran(code=0)

    async def inside() -> None:
        tasks = Tasks()
        asking = Asking(Recorder(), tasks)  # type: ignore[arg-type]
        asking.run = run
        spec = AgentSpec(name="a", command=("x",), working_dir="/")
        spec = replace(spec, memory=model.Memory(ask=AskMemory(command=("free",))))
        agent = Agent(spec, Policy(), Memory(ladder=Ladder()))
        agent.world = World(state="up", epoch=1, pid=os.getpid())
        asking.ask(agent, 5_000_000)
        asking.ask(agent, 5_000_000)
        while not said:
            await asyncio.sleep(0)

    asyncio.run(inside())
    assert runs == [{"HOLDFAST_ASK_BYTES": "5000000"}]
    assert said == [("density.asked", "was asked for 5 MB of memory, since it grows scarce")]
