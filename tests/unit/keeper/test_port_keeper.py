"""A stopped agent's port: held, given back before its start, and every caller handed on whole."""

from __future__ import annotations

import asyncio
import socket

from holdfast.keeper.density.port_keeper import PortKeeper


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
