"""Facts about processes."""

import os
import socket
import subprocess
import sys

from holdfast.node import processes

STAT = (
    "4242 (a) b (c)) S 17 4242 4242 0 -1 4194560 1532 0 0 0 250 50 30 20 20 0 15 0 987654 "
    "1200000000 2560 18446744073709551615 1 1 0 0 0 0 0 16781312 134235651 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1111 1 0000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 2222 1 0000 20 4 30 10 -1
"""


def test_a_name_with_brackets_and_blanks_does_not_confuse() -> None:
    found = processes.parse_stat(STAT)
    assert (found.pid, found.comm, found.state, found.ppid, found.starttime) == (4242, "a) b (c)", "S", 17, 987654)
    assert found.cpu_s == 350 / os.sysconf("SC_CLK_TCK")
    assert found.rss_bytes == 2560 * os.sysconf("SC_PAGE_SIZE")


def test_only_listening_rows_are_taken() -> None:
    assert list(processes.parse_listening(TCP)) == [(8080, 1111)]


def test_a_process_that_is_gone_is_none() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert processes.stat(child.pid) is None
    assert processes.starttime(child.pid) is None
    assert processes.comm(child.pid) == "?"
    assert processes.tree(child.pid) == []


def test_a_tree_and_an_environment_are_found() -> None:
    program = "import subprocess, sys; p = subprocess.Popen(['cat']); print(p.pid, flush=True); p.wait()"
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"HOLDFAST_TRIAL": f"mark-{os.getpid()}", "PATH": os.environ["PATH"]},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        grandchild = int(child.stdout.readline())
        assert {each.pid for each in processes.tree(child.pid)} == {child.pid, grandchild}
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()


def test_the_listener_of_a_port_is_found_among_the_given_processes() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert processes.is_listened_on(port)
        assert [each.pid for each in processes.listeners_of(port, [os.getpid()])] == [os.getpid()]
        assert os.getpid() in [each.pid for each in processes.listeners_of(port)]
        assert processes.listeners_of(port, [1]) == []
    assert not processes.is_listened_on(port)
    assert processes.listeners_of(port) == []


def test_an_ipv6_listener_is_found_too() -> None:
    with socket.socket(socket.AF_INET6) as listener:
        try:
            listener.bind(("::1", 0))
        except OSError:
            return
        listener.listen()
        port = listener.getsockname()[1]
        assert [each.pid for each in processes.listeners_of(port, [os.getpid()])] == [os.getpid()]
