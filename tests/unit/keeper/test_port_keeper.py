"""A stopped agent's port: held, given back before its start, and every caller handed on whole."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from holdfast import limits
from holdfast.keeper.density.port_keeper import PortKeeper

PATIENCE_S = 10.0


def address() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return "127.0.0.1", one.getsockname()[1]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read())[::-1])
    await writer.drain()
    writer.close()


async def call(where: tuple[str, int], body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*where)
    writer.write(body)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def test_callers_of_a_stopped_agent_are_answered_by_the_next_instance() -> None:
    async def main() -> None:
        where, called = address(), asyncio.Event()
        keeper = PortKeeper(lambda name: called.set(), lambda name, words: None)
        keeper.hold("bot", [f"{where[0]}:{where[1]}"])
        callers = [asyncio.create_task(call(where, bytes([number]) * 200_000 + b"end")) for number in range(3)]
        await called.wait()
        while len(keeper._ports["bot"].callers) < 3:
            await asyncio.sleep(0.01)
        keeper.release("bot")
        server = await asyncio.start_server(echo, *where)  # its port is free, though callers are held
        keeper.deliver("bot")
        answers = await asyncio.gather(*callers)
        assert answers == [b"dne" + bytes([number]) * 200_000 for number in range(3)]
        server.close()
        keeper.close()

    asyncio.run(main())


def test_a_port_that_is_still_taken_is_held_as_soon_as_it_is_free() -> None:
    async def main() -> None:
        called = asyncio.Event()
        keeper = PortKeeper(lambda name: called.set(), lambda name, words: None)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = taken.getsockname()
            keeper.hold("bot", [f"{where[0]}:{where[1]}"])
            assert not keeper._ports["bot"].listening
        while not keeper._ports["bot"].listening:
            await asyncio.sleep(0.01)
        caller = asyncio.create_task(call(where, b"x"))
        await called.wait()
        keeper.give_up("bot")
        (lost,) = await asyncio.gather(caller, return_exceptions=True)
        assert lost == b"" or isinstance(lost, OSError)
        keeper.close()

    asyncio.run(main())


def test_an_address_that_is_not_ours_is_told_once() -> None:
    async def main() -> None:
        words: list[str] = []
        keeper = PortKeeper(lambda name: None, lambda name, said: words.append(said))
        keeper.hold("bot", ["192.0.2.1:8080"])
        keeper.hold("bot", ["192.0.2.1:8080"])
        assert len(words) == 1
        assert words[0].startswith("192.0.2.1:8080 cannot be held for it")
        keeper.close()

    asyncio.run(main())


def test_a_port_that_somebody_else_took_is_told_once_and_still_held_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        words: list[str] = []
        keeper = PortKeeper(lambda name: None, lambda name, said: words.append(said))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            keeper.hold("bot", [address])
            while not words:
                await asyncio.sleep(0.01)
            keeper.hold("bot", [address])
        while not keeper._ports["bot"].listening:
            await asyncio.sleep(0.01)
        assert words == [f"{address} cannot be held for it: Address already in use"]
        keeper.close()

    monkeypatch.setattr(limits, "SLEEP_PORT_TAKEN_S", 0.1)
    monkeypatch.setattr(limits, "SLEEP_PORT_TRY_S", 0.01)
    asyncio.run(main())


def test_without_descriptors_callers_wait_in_the_kernels_queue_and_nobody_spins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        where, called, tries = address(), asyncio.Event(), []

        def no_descriptors(listener: socket.socket) -> None:
            tries.append(listener)
            raise OSError(errno.EMFILE, "Too many open files")

        keeper = PortKeeper(lambda name: called.set(), lambda name, words: None)
        keeper.hold("bot", [f"{where[0]}:{where[1]}"])
        with monkeypatch.context() as short, socket.socket() as caller:
            short.setattr(socket.socket, "accept", no_descriptors)
            caller.connect(where)
            while not tries:
                await asyncio.sleep(0.001)
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(tries) < 20
            assert not called.is_set()
            short.undo()
            await called.wait()
        keeper.close()

    asyncio.run(main())


def test_who_waited_behind_the_most_that_are_held_is_taken_when_the_time_of_the_first_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        where = address()
        keeper = PortKeeper(lambda name: None, lambda name, words: None)
        keeper.hold("bot", [f"{where[0]}:{where[1]}"])
        ends = await asyncio.wait_for(asyncio.gather(call(where, b""), call(where, b"")), PATIENCE_S)
        assert [*ends] == [b"", b""]
        keeper.close()

    monkeypatch.setattr(limits, "SLEEP_CALLERS_MAX", 1)
    monkeypatch.setattr(limits, "SLEEP_CALLER_HELD_S", 0.05)
    asyncio.run(main())
