"""Who is named for what the machine is short of."""

from __future__ import annotations

import os
from typing import Literal

import pytest
from msgspec.structs import replace

from holdfast import limits
from holdfast.correlation.neighbours import OWN, Known, named, uses
from holdfast.density.model import Phase, Reading, Seen
from holdfast.density.node_memory import Node
from holdfast.keeper.density.neighbours import machine_bytes, outside_bytes
from holdfast.node import takers
from holdfast.node.takers import Taker, parse_groups

MB = 1_000_000
KNOWN = Known(
    places={("h1.holdfast", "crew-1.2"): "crew-1"},
    roots={50: "plain"},
    own_pids=frozenset({7}),
    own_place="h1.holdfast",
)


def taker(pid: int, comm: str, cpu_s: float, group: str = "", **more: object) -> Taker:
    known: dict[str, object] = {"ppid": 1, "uid": 1000, "memory_bytes": 10 * MB}
    return Taker(pid=pid, comm=comm, cpu_s=cpu_s, groups=(group,) if group else (), **(known | more))  # type: ignore[arg-type]


BEFORE = [taker(10, "node", 5.0, "/h1.holdfast/crew-1.2"), taker(20, "ffmpeg", 100.0), taker(30, "tar", 1.0)]


@pytest.mark.parametrize(
    ("one", "who"),
    [
        (taker(10, "node", 0, "/h1.holdfast/crew-1.2"), "agent crew-1"),
        (taker(11, "git", 0, "/h1.holdfast/crew-1.2/deeper"), "agent crew-1"),
        (taker(51, "child", 0, ppid=50), "agent plain"),
        (taker(7, "python3", 0), OWN),
        (taker(8, "python3", 0, "/h1.holdfast"), OWN),
        (taker(99, "kworker/0:1", 0, ppid=2, uid=0), "the kernel"),
        (taker(60, "postgres", 0, "/system.slice/postgresql.service"), "postgresql.service"),
        (taker(61, "java", 0, "/docker/0123456789abcdef0123"), "container 0123456789ab"),
        (taker(61, "java", 0, "/system.slice/docker-0123456789abcdef0123.scope"), "container 0123456789ab"),
        (taker(62, "bash", 0, "/user.slice/user-1000.slice/session-3.scope"), "bash of user 1000"),
    ],
)
def test_a_process_belongs_to_an_agent_a_unit_or_a_user(one: Taker, who: str) -> None:
    parents = [taker(50, "root", 0)] if one.ppid == 50 else []
    found = uses([], [one, *parents], 1.0, KNOWN)
    assert found[0].who.name == who


def test_those_who_take_most_of_what_is_short_are_named_with_numbers_the_largest_first() -> None:
    after = [
        taker(10, "node", 5.6, "/h1.holdfast/crew-1.2", memory_bytes=2_500 * MB),
        taker(20, "ffmpeg", 101.2),
        taker(30, "tar", 1.1),
    ]
    found = uses(BEFORE, after, 1.0, KNOWN)
    assert [one.words for one in named(found, ("cpu",), 2.0, 4_000 * MB)] == [
        "ffmpeg of user 1000 takes 1.2 of 2 cores",
        "agent crew-1 (node) takes 0.6 of 2 cores",
    ]
    assert [one.words for one in named(found, ("memory",), 2.0, 4_000 * MB)] == [
        "agent crew-1 (node) holds 2.5 GB of 4 GB"
    ]
    assert named(found, (), 2.0, 4_000 * MB) == ()


def test_who_is_no_agent_is_measured_against_the_machine_when_the_node_is_a_declared_part_of_it() -> None:
    after = [
        taker(10, "node", 1.0, "/h1.holdfast/crew-1.2", memory_bytes=300 * MB),
        taker(20, "ffmpeg", 1.0, memory_bytes=2_000 * MB),
    ]
    found = uses(BEFORE, after, 1.0, KNOWN)
    assert [one.who.name for one in named(found, ("memory",), 2.0, 400 * MB, 0)] == ["agent crew-1"]
    words = [one.words for one in named(found, ("memory",), 2.0, 400 * MB, 4_000 * MB)]
    assert [one.rpartition(" of ")[2] for one in words] == ["400 MB", words[1].rpartition(" of ")[2]]
    assert "ffmpeg of user 1000 holds 2" in words[1]


def _node(kind: Literal["machine", "group", "declared"]) -> Node:
    return Node(kind=kind, bytes=400 * MB, reserve_bytes=0, path="", why="")


def test_others_are_a_reason_only_once_they_took_a_part_of_the_node() -> None:
    mine = Seen(name="a", priority=0, phase=Phase.RUNNING, usage_bytes=300 * MB)
    alone = Reading(node_bytes=400 * MB, reserve_bytes=0, available_bytes=100 * MB, agents=(mine,))
    beside = replace(alone, available_bytes=0)
    assert outside_bytes(_node("declared"), alone) == outside_bytes(_node("machine"), alone) == 0
    assert outside_bytes(_node("group"), beside) == 400 * MB
    assert outside_bytes(_node("declared"), beside) == machine_bytes()
    assert outside_bytes(None, None) == machine_bytes()


def test_who_reads_and_writes_is_named_only_if_it_is_much() -> None:
    before = [taker(20, "rsync", 0, io_bytes=0), taker(30, "vim", 0, io_bytes=0)]
    after = [taker(20, "rsync", 0, io_bytes=90 * MB), taker(30, "vim", 0, io_bytes=1000)]
    words = [one.words for one in named(uses(before, after, 1.0, KNOWN), ("io",), 2.0, 1)]
    assert words == ["rsync of user 1000 reads and writes 90 MB/s"]
    slow = [one._replace(io_bytes=1000) for one in after]
    assert named(uses(before, slow, 1.0, KNOWN), ("io",), 2.0, 1) == ()


def test_never_more_are_named_than_can_be_read() -> None:
    after = [taker(pid, f"p{pid}", 1.0) for pid in range(100, 120)]
    assert len(named(uses([], after, 1.0, KNOWN), ("cpu",), 1.0, 1)) == limits.NEIGHBOURS_NAMED


def test_what_is_read_of_this_process_is_true() -> None:
    mine = next(one for one in takers.read(with_io=True) if one.pid == os.getpid())
    assert mine.ppid == os.getppid()
    assert mine.memory_bytes > 5 * MB
    assert mine.io_bytes is None or mine.io_bytes >= 0
    assert parse_groups("4:memory:/a/b\n3:cpu:/a/b\n0::/\n") == ("/a/b",)


def test_a_process_that_executes_another_program_counts_only_what_it_took_since_and_as_long_as_that_took() -> None:
    before = [taker(40, "sh", 90.0, started=7, read_mono=1.0), taker(41, "sh", 0.0, started=8, read_mono=1.0)]
    after = [taker(40, "python3", 91.0, started=7, read_mono=3.0), taker(41, "sh", 0.5, started=9, read_mono=3.0)]
    assert [(one.comm, one.cores) for one in uses(before, after, 1.0, KNOWN)] == [("python3", 0.5), ("sh", 0.5)]
    (found,) = named(uses([], [taker(42, "make", 9.0)], 1.0, KNOWN), ("cpu",), 2.0, 4_000 * MB)
    assert found.words.endswith("takes 2.0 of 2 cores")
