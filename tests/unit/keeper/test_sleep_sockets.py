"""Who calls an agent, told from the kernel's own lists: pure rules by tables, and one look at real sockets."""

from __future__ import annotations

import os
import socket

import pytest

from holdfast.keeper.density import sockets
from holdfast.keeper.density.sockets import CLOSE_WAIT, ESTABLISHED, LISTEN, End, Tcp

HERE = b"\0" * 10 + b"\xff\xff\x7f\0\0\1"
V4 = socket.AF_INET


def tcp(inode: int, state: int, port: int, remote: int = 0, unread: int = 0) -> Tcp:
    there: End = (HERE, remote)
    return Tcp(inode, state, (HERE, port), there, unread, V4)


DOOR = tcp(1, LISTEN, 80)
TABLES = [
    ([DOOR], 0, 0),
    ([DOOR._replace(unread=2)], 2, 0),  # nobody took them yet
    ([DOOR, tcp(2, ESTABLISHED, 80, 5000)], 1, 0),
    ([DOOR, tcp(0, ESTABLISHED, 80, 5000), DOOR._replace(unread=1)], 1, 0),
    ([DOOR, tcp(2, ESTABLISHED, 80, 9000), tcp(99, ESTABLISHED, 9000, 80)], 0, 0),  # our own probe
    ([DOOR, tcp(3, ESTABLISHED, 6000, 443)], 0, 1),
    ([DOOR, tcp(77, ESTABLISHED, 81, 5000)], 0, 0),  # another's
]


@pytest.mark.parametrize(("table", "inbound", "outbound"), TABLES)
def test_only_connections_of_others_to_its_ports_are_calls(table: list[Tcp], inbound: int, outbound: int) -> None:
    seen = sockets.calls(table, frozenset({1, 2, 3}), frozenset({99}))
    assert seen.visible
    assert (seen.inbound, seen.outbound) == (inbound, outbound)


def test_of_an_agent_whose_sockets_are_elsewhere_nothing_is_known() -> None:
    assert not sockets.calls([DOOR], frozenset({5}), frozenset()).visible


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ([DOOR, tcp(3, ESTABLISHED, 6000, 443, unread=7)], ""),
        ([DOOR._replace(unread=1)], "somebody connects"),
        ([tcp(3, ESTABLISHED, 6000, 443, unread=8)], "data came for it"),
        ([tcp(3, CLOSE_WAIT, 6000, 443, unread=7)], "a connection of it was closed"),
        ([tcp(8, LISTEN, 90, unread=1)], ""),  # another's
    ],
)
def test_a_frozen_agent_is_stirred_by_what_is_new_since_it_was_frozen(now: list[Tcp], why: str) -> None:
    before = {1: DOOR, 3: tcp(3, ESTABLISHED, 6000, 443, unread=7)}
    assert sockets.stirred(before, now) == why


def test_the_kernel_and_proc_tell_the_same_of_real_listeners() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as two,
        socket.create_connection(two.getsockname()[:2]),
    ):
        own = sockets.held_by([os.getpid()])
        table = sockets.Table()
        told = {each.inode: each for each in table.read(LISTEN) if each.inode in own}
        table.close()
        assert sockets.addresses([told[os.fstat(one.fileno()).st_ino]]) == (f"127.0.0.1:{one.getsockname()[1]}",)
        assert sockets.addresses([told[os.fstat(two.fileno()).st_ino]]) == (f"[::]:{two.getsockname()[1]}",)
        assert told[os.fstat(two.fileno()).st_ino].unread == 1
        proc = {each.inode: each for each in sockets._from_proc() if each.inode in told}
        assert {key: each._replace(remote=each.local) for key, each in proc.items()} == {
            key: each._replace(remote=each.local) for key, each in told.items()
        }


def test_a_unix_listener_tells_who_waits_for_it() -> None:
    table = sockets.Table()
    with socket.socket(socket.AF_UNIX) as door, socket.socket(socket.AF_UNIX) as caller:
        door.bind("")
        door.listen()
        inode = os.fstat(door.fileno()).st_ino
        if table.unix_queue(inode) is None:
            pytest.skip("the kernel does not tell of Unix sockets here")
        assert table.unix_queue(inode) == 0
        caller.connect(door.getsockname())
        assert table.unix_queue(inode) == 1
    table.close()
