"""Whose socket it is: the pod's, nobody's, or a stranger's, with real listeners."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from holdfast.keeper.watching import ports
from holdfast.node import processes
from holdfast.spec.model import HttpProbe

LISTEN = """
import socket
sock = socket.create_server(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
input()
"""


@pytest.fixture
def listener() -> Iterator[tuple[int, int]]:
    """(pid, port) of a process that listens."""
    process = subprocess.Popen([sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline())
    finally:
        process.communicate()


def test_the_port_of_ones_own_process_or_child_is_no_strangers(listener: tuple[int, int]) -> None:
    pid, port = listener
    assert ports.stranger("one", port, pid, (), 1) == ""
    assert ports.stranger("one", port, os.getpid(), (), 1) == ""


def test_a_stranger_is_named_with_port_process_and_command(listener: tuple[int, int]) -> None:
    pid, port = listener
    sleeper = subprocess.Popen(["sleep", "1000"])
    try:
        found = ports.stranger("one", port, sleeper.pid, (), 1)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert found == f"port {port} is held by process {pid} ({processes.comm(pid)}), not by the agent"


def test_what_an_agent_left_to_init_is_believed_where_no_cgroup_tells(listener: tuple[int, int]) -> None:
    assert ports.stranger("one", listener[1], 0, (), os.getpid()) == ""


def test_a_port_nobody_listens_on_is_no_strangers() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        assert ports.stranger("one", sock.getsockname()[1], os.getpid(), (), 1) == ""


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://127.0.0.1:81/x", 81), ("http+unix://%2Ftmp%2Fx/y", None), ("ftp://x", None), (None, None)],
)
def test_only_a_tcp_probe_has_a_port(url: str | None, port: int | None) -> None:
    assert ports.port_of(None if url is None else HttpProbe(url=url)) == port
