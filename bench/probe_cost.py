"""What one probe costs in CPU: the probe engine against asyncio streams, alternately, at a steady pace.

A second process serves trivial keep-alive answers by epoll; only the asking process is measured (user and system CPU,
the loop it lives in included).
Usage: python bench/probe_cost.py [--agents 1000] [--rate 500] [--seconds 4] [--rounds 3]
Prints one JSON object with the raw samples and the median of each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import select
import socket
import statistics
import sys
import time

from holdfast.health.http import ProbeEngine
from holdfast.health.model import ProbeResult, Verdict
from holdfast.spec.model import HttpProbe

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sat, 21 Nov 2026 02:35:00 GMT\r\n"
    b'Content-Length: 27\r\n\r\n{"ok":true,"status":"live"}'
)
TIMEOUT_S = 2.0
SLOT_S = 0.05


def serve(listener: socket.socket) -> None:
    """Answers every request until killed."""
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    open_sockets: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                connection, _ = listener.accept()
                connection.setblocking(False)
                open_sockets[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
                continue
            try:
                data = open_sockets[fd].recv(4096)
            except OSError:
                data = b""
            if data:
                open_sockets[fd].send(ANSWER)
            else:
                open_sockets.pop(fd).close()


async def pace(agents: int, rate: int, seconds: float, ask: object) -> None:
    """Call ask(n) `rate` times a second in slots, as the keeper does."""
    assert callable(ask)
    start, done = time.monotonic(), 0
    while (now := time.monotonic()) < start + seconds:
        due = int((now - start) * rate)
        while done < due:
            ask(done % agents)
            done += 1
        await asyncio.sleep(SLOT_S)


async def by_engine(url: str, agents: int, rate: int, seconds: float) -> dict[str, float]:
    results: list[ProbeResult] = []
    engine = ProbeEngine(results.append)
    loop = asyncio.get_running_loop()
    loop.add_reader(engine.fileno(), engine.on_ready)
    probe = HttpProbe(url=url, expect={"ok": True})
    names = [f"agent-{number}" for number in range(agents)]

    def ask(number: int) -> None:
        engine.ask(names[number], 1, probe, TIMEOUT_S, 10.0)

    async def keep_time() -> None:
        while True:
            await asyncio.sleep(SLOT_S)
            engine.on_time(time.monotonic())

    keeping = asyncio.create_task(keep_time())
    await pace(agents, agents * 2, 0.6, ask)  # connections stand before the measurement
    await asyncio.sleep(0.2)
    results.clear()
    before = time.process_time()
    await pace(agents, rate, seconds, ask)
    await asyncio.sleep(0.2)
    spent = time.process_time() - before
    keeping.cancel()
    loop.remove_reader(engine.fileno())
    engine.close()
    good = sum(result.verdict == Verdict.OK for result in results)
    return {"us_per_probe": spent / max(1, good) * 1e6, "good": good, "bad": len(results) - good}


async def by_streams(port: int, agents: int, rate: int, seconds: float) -> dict[str, float]:
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    lines: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
    good = bad = 0

    async def one(number: int) -> None:
        nonlocal good, bad
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if number not in lines:
                    lines[number] = await asyncio.open_connection("127.0.0.1", port)
                reader, writer = lines[number]
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(27)
                good += head.startswith(b"HTTP/1.1 200") and json.loads(body)["ok"] is True
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            bad += 1

    pending: set[asyncio.Task[None]] = set()

    def ask(number: int) -> None:
        task = asyncio.ensure_future(one(number))
        pending.add(task)
        task.add_done_callback(pending.discard)

    await pace(agents, agents * 2, 0.6, ask)
    await asyncio.sleep(0.5)
    good = bad = 0
    before = time.process_time()
    await pace(agents, rate, seconds, ask)
    await asyncio.sleep(0.3)
    spent = time.process_time() - before
    for _, writer in lines.values():
        writer.close()
    return {"us_per_probe": spent / max(1, good) * 1e6, "good": good, "bad": bad}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--agents", type=int, default=1000)
    options.add_argument("--rate", type=int, default=500, help="probes a second")
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    server = os.fork()
    if server == 0:
        try:
            serve(listener)
        finally:
            os._exit(0)
    listener.close()
    samples: dict[str, list[dict[str, float]]] = {"engine": [], "streams": []}
    try:
        for _ in range(chosen.rounds):
            url = f"http://127.0.0.1:{port}/"
            samples["engine"].append(asyncio.run(by_engine(url, chosen.agents, chosen.rate, chosen.seconds)))
            samples["streams"].append(asyncio.run(by_streams(port, chosen.agents, chosen.rate, chosen.seconds)))
    finally:
        os.kill(server, 9)
        os.waitpid(server, 0)
    medians = {name: statistics.median(each["us_per_probe"] for each in rows) for name, rows in samples.items()}
    load = os.getloadavg()[0]
    json.dump({"median_us": medians, "samples": samples, "load": load, "python": sys.version.split()[0]}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
