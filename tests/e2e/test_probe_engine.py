"""The probe engine against real sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.health.http import ProbeEngine
from holdfast.health.model import ProbeResult, Verdict
from holdfast.spec.model import HttpProbe
from tests.harness.ports import free_port

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + b'{"ok":true}'
PATIENCE_S = 90.0


class Server:
    """Accepts connections one thread each; `script(connection, number)` talks on one."""

    def __init__(
        self, script: Callable[[socket.socket, int], None], family: int = socket.AF_INET, where: str = ""
    ) -> None:
        self.accepted = 0
        self.asked = 0
        self._script = script
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_UNIX:
            self._listener.bind(where)
        else:
            self._listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self._listener.listen(16)
        self.port = 0 if family == socket.AF_UNIX else self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._talk, args=(connection, self.accepted), daemon=True).start()

    def _talk(self, connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            self._script(connection, number)

    def request(self, connection: socket.socket) -> bool:
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            data = connection.recv(4096)
            if not data:
                return False
            got += data
        self.asked += 1
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Bench:
    """An engine and its results."""

    def __init__(self) -> None:
        self.results: list[ProbeResult] = []
        self.engine = ProbeEngine(self.results.append)
        self.servers: list[Server] = []

    def serve(
        self, script: Callable[[socket.socket, int], None], family: int = socket.AF_INET, where: str = ""
    ) -> Server:
        server = Server(script, family, where)
        self.servers.append(server)
        return server

    def ask(
        self, url: str, timeout_s: float = 10.0, instance: int = 1, age_s: float = 5.0, **probe: object
    ) -> ProbeResult:
        before = len(self.results)
        assert self.engine.ask("a", instance, HttpProbe(url=url, **probe), timeout_s, age_s)  # type: ignore[arg-type]
        self.wait(lambda: len(self.results) > before)
        assert len(self.results) == before + 1
        return self.results[-1]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Run the engine as an owner would, until the condition holds."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            now = time.monotonic()
            assert now < end, "the engine did not get there"
            deadline = self.engine.next_deadline()
            pause = 0.05 if deadline is None else max(0.0, min(0.05, deadline - now))
            select.select([self.engine.fileno()], [], [], pause)
            self.engine.on_ready()
            deadline = self.engine.next_deadline()
            if deadline is not None and time.monotonic() >= deadline:
                self.engine.on_time(deadline)  # as if we were never late: the tests say when we are


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.engine.close()
    for server in made.servers:
        server.close()


def always(reply: bytes, hold: bool = True) -> Callable[[socket.socket, int], None]:
    def script(connection: socket.socket, number: int) -> None:
        while True:
            got = b""
            while not got.endswith(b"\r\n\r\n"):
                data = connection.recv(4096)
                if not data:
                    return
                got += data
            connection.sendall(reply)
            if not hold:
                return

    return script


def test_one_connection_carries_many_probes_and_is_renewed_now_and_then(bench: Bench) -> None:
    server = bench.serve(always(GOOD))
    for _ in range(limits.PROBE_CONNECTION_USES + 1):
        assert bench.ask(f"http://127.0.0.1:{server.port}/", expect={"ok": True}).verdict == Verdict.OK
    assert server.accepted == 2


def test_a_connection_which_the_server_closed_meanwhile_is_no_failure(bench: Bench) -> None:
    def script(connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(GOOD)

    server = bench.serve(script)
    for turn in range(1, 5):
        assert bench.ask(f"http://127.0.0.1:{server.port}/").verdict == Verdict.OK
        assert server.accepted == turn


def test_a_kept_connection_closed_upon_the_question_is_replaced_once(bench: Bench) -> None:
    def script(connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(GOOD)
        server.request(connection)  # hears the second question and closes without an answer

    server = bench.serve(script)
    assert bench.ask(f"http://127.0.0.1:{server.port}/").verdict == Verdict.OK
    assert bench.ask(f"http://127.0.0.1:{server.port}/").verdict == Verdict.OK
    assert server.accepted == 2


def test_a_server_that_always_hangs_up_fails_and_is_not_asked_for_ever(bench: Bench) -> None:
    server = bench.serve(lambda connection, _: None)
    found = bench.ask(f"http://127.0.0.1:{server.port}/")
    assert found.verdict == Verdict.FAILING
    assert server.accepted == 1


def test_an_answer_byte_by_byte_is_understood(bench: Bench) -> None:
    def script(connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.request(connection)
        for at in range(len(GOOD)):
            connection.sendall(GOOD[at : at + 1])
        server.request(connection)

    server = bench.serve(script)
    assert bench.ask(f"http://127.0.0.1:{server.port}/", expect={"ok": True}).verdict == Verdict.OK


def test_an_answer_ended_by_closing_is_understood(bench: Bench) -> None:
    server = bench.serve(always(b'HTTP/1.0 200 OK\r\n\r\n{"ok":true}', hold=False))
    assert bench.ask(f"http://127.0.0.1:{server.port}/", expect={"ok": True}).verdict == Verdict.OK


def test_nobody_listening_is_refused_at_once(bench: Bench) -> None:
    port = free_port()
    found = bench.ask(f"http://127.0.0.1:{port}/")
    assert found.verdict == Verdict.REFUSED
    assert str(port) in found.detail
    assert bench.ask(f"http://localhost:{port}/").verdict == Verdict.REFUSED


def test_localhost_finds_a_server_on_the_ipv6_loopback_only(bench: Bench) -> None:
    try:
        server = bench.serve(always(GOOD), socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    assert bench.ask(f"http://localhost:{server.port}/").verdict == Verdict.OK
    assert bench.ask(f"http://localhost:{server.port}/").verdict == Verdict.OK
    assert bench.ask(f"http://[::1]:{server.port}/").verdict == Verdict.OK


def test_a_unix_socket_is_asked_too(bench: Bench, tmp_path: Path) -> None:
    place = tmp_path / "a.sock"
    url = f"http+unix://{str(place).replace('/', '%2F')}/health"
    assert bench.ask(url).verdict == Verdict.REFUSED
    bench.serve(always(GOOD), socket.AF_UNIX, str(place))
    assert bench.ask(url).verdict == Verdict.OK


def test_silence_is_slow_and_a_late_answer_is_not_taken_for_the_next(bench: Bench) -> None:
    release = threading.Event()

    def script(connection: socket.socket, number: int) -> None:
        server.request(connection)
        if number == 1:
            release.wait(PATIENCE_S)
            connection.sendall(b"HTTP/1.1 500 Late\r\nContent-Length: 0\r\n\r\n")
        else:
            connection.sendall(GOOD)
        server.request(connection)

    server = bench.serve(script)
    found = bench.ask(f"http://127.0.0.1:{server.port}/", timeout_s=0.1)
    assert (found.verdict, found.detail) == (Verdict.SLOW, "no answer in 0.1 s")
    release.set()
    assert bench.ask(f"http://127.0.0.1:{server.port}/").verdict == Verdict.OK


def test_a_server_that_accepts_nothing_is_slow(bench: Bench) -> None:
    with socket.socket() as listener:  # as a frozen process: the backlog takes the connection
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        for _ in range(6):  # past the backlog as well
            assert bench.ask(url, timeout_s=0.1).verdict == Verdict.SLOW


def test_silence_proves_nothing_while_we_ourselves_were_late(bench: Bench) -> None:
    server = bench.serve(lambda connection, _: server.request(connection) and time.sleep(PATIENCE_S))
    assert bench.engine.ask("a", 1, HttpProbe(url=f"http://127.0.0.1:{server.port}/"), 0.1, 5.0)
    deadline = bench.engine.next_deadline()
    assert deadline is not None
    bench.engine.on_time(deadline + 2.0)
    assert bench.results[-1].verdict == Verdict.STARVED
    assert "2.0 s late" in bench.results[-1].detail


def test_an_answer_that_waited_for_us_counts_however_late_we_are(bench: Bench) -> None:
    server = bench.serve(always(GOOD))
    assert bench.engine.ask("a", 1, HttpProbe(url=f"http://127.0.0.1:{server.port}/"), 0.1, 5.0)
    assert select.select([bench.engine.fileno()], [], [], PATIENCE_S)[0]
    end = time.monotonic() + PATIENCE_S
    while not bench.results:
        assert time.monotonic() < end
        if server.asked or select.select([bench.engine.fileno()], [], [], 0.01)[0]:
            bench.engine.on_ready()
    assert bench.results[-1].verdict == Verdict.OK


def test_silence_proves_nothing_on_a_starved_host_but_a_refusal_does(bench: Bench) -> None:
    server = bench.serve(lambda connection, _: server.request(connection) and time.sleep(PATIENCE_S))
    bench.engine.host_starved = True
    assert bench.ask(f"http://127.0.0.1:{server.port}/", timeout_s=0.1).verdict == Verdict.STARVED
    assert bench.ask(f"http://127.0.0.1:{free_port()}/").verdict == Verdict.REFUSED


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", "HTTP 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", "HTML"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", "not JSON"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"ok":false}', "ok is false"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000, "longer than"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "not HTTP"),
    ],
)
def test_an_answer_that_is_not_the_agents_good_one_fails(bench: Bench, reply: bytes, words: str) -> None:
    server = bench.serve(always(reply))
    found = bench.ask(f"http://127.0.0.1:{server.port}/", expect={"ok": True})
    assert found.verdict == Verdict.FAILING
    assert words in found.detail


def test_a_server_older_than_the_instance_is_foreign(bench: Bench) -> None:
    server = bench.serve(always(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"up":9.5} '[:-1]))
    url = f"http://127.0.0.1:{server.port}/"
    assert bench.ask(url, age_s=20.0, age_field="up").verdict == Verdict.OK
    assert bench.ask(url, age_s=1.0, age_field="up").verdict == Verdict.FOREIGN


def test_a_new_instance_gets_a_connection_of_its_own_and_cancels_the_old_question(bench: Bench) -> None:
    quiet = bench.serve(lambda connection, _: quiet.request(connection) and time.sleep(PATIENCE_S))
    server = bench.serve(always(GOOD))
    assert bench.engine.ask("a", 1, HttpProbe(url=f"http://127.0.0.1:{quiet.port}/"), 0.2, 5.0)
    assert not bench.engine.ask("a", 1, HttpProbe(url=f"http://127.0.0.1:{quiet.port}/"), 0.2, 5.0)
    assert bench.ask(f"http://127.0.0.1:{server.port}/", instance=2).instance == 2
    assert [result.instance for result in bench.results] == [2]
    assert bench.engine.next_deadline() is None


def test_a_forgotten_agent_gives_no_result(bench: Bench) -> None:
    quiet = bench.serve(lambda connection, _: quiet.request(connection) and time.sleep(PATIENCE_S))
    assert bench.engine.ask("a", 1, HttpProbe(url=f"http://127.0.0.1:{quiet.port}/"), 0.1, 5.0)
    bench.engine.forget("a")
    assert bench.engine.next_deadline() is None
    bench.engine.on_time(time.monotonic() + 60)
    assert bench.results == []


def test_a_url_that_cannot_be_asked_fails_with_the_reason(bench: Bench) -> None:
    found = bench.ask("https://127.0.0.1/")
    assert found.verdict == Verdict.FAILING
    assert "https is not probed" in found.detail


def test_running_out_of_descriptors_is_our_lack_and_not_the_agents(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as without:
        without.setattr(socket, "socket", no_more)
        found = bench.ask("http://localhost:9/")
    assert found.verdict == Verdict.STARVED
    assert os.strerror(errno.EMFILE) in found.detail
