"""Which memory is the node's, from directories that look like this machine's cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.density.node_memory import Node
from holdfast.keeper.density.node_room import NodeRoom, left, parse_pressure
from holdfast.node.cgroups import CgroupPlan, Mount, View
from holdfast.spec.model import Node as Wanted

GB = 1 << 30
UNLIMITED = "9223372036854771712"


def group(directory: Path, limit: str, *, v2: bool = False) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if v2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    (directory / names[0]).write_text(limit)
    (directory / names[1]).write_text(str(GB // 4))
    (directory / "memory.stat").write_text("inactive_file 0\n" if v2 else "total_inactive_file 0\n")
    return directory


def v1_room(tmp_path: Path, unit: str, home: str = UNLIMITED) -> NodeRoom:
    """We are in /unit of a v1 hierarchy, our agents below it."""
    group(tmp_path, UNLIMITED)
    group(tmp_path / "unit", unit)
    root = group(tmp_path / "unit" / "holdfast-x", home)
    view = View(None, (Mount(tmp_path, "/", frozenset({"memory"})),), None, {"memory": "/unit"}, None)
    return NodeRoom(CgroupPlan("v1", "", v1_roots={"memory": root}, tracker="memory"), view)


def look(room: NodeRoom, wanted: Wanted | None = None, now: float = 0.0) -> Node:
    room.look(wanted or Wanted(), list, now)
    assert room.node is not None
    return room.node


def test_the_group_that_holdfast_was_started_in_is_the_node(tmp_path: Path) -> None:
    room = v1_room(tmp_path, str(GB))
    node, told = look(room), room.read()
    assert (node.kind, node.bytes, node.path) == ("group", GB, str(tmp_path / "unit"))
    assert told is not None
    assert told.available_bytes == GB - GB // 4


def test_without_a_limit_the_machine_is_the_node_and_less_may_be_declared(tmp_path: Path) -> None:
    room = v1_room(tmp_path, UNLIMITED)
    assert look(room).kind == "machine"
    node = look(room, Wanted(memory_bytes=GB // 2))
    assert (node.kind, node.bytes) == ("declared", GB // 2)


def test_a_limit_that_changes_is_known_after_a_while(tmp_path: Path) -> None:
    room, wanted = v1_room(tmp_path, str(GB)), Wanted()
    look(room, wanted, 0.0)
    group(tmp_path / "unit", str(GB // 2))
    assert look(room, wanted, 1.0).bytes == GB
    assert look(room, wanted, 60.0).bytes == GB // 2


def test_a_limit_that_does_not_count_the_agents_is_counted_by_what_they_use(tmp_path: Path) -> None:
    """As root in v2 the agents hang at the top, and the unit's limit holds only ourselves."""
    group(tmp_path / "system.slice" / "holdfast.service", str(GB), v2=True)
    root = tmp_path / "holdfast-x"
    root.mkdir()
    view = View(Mount(tmp_path, "/", frozenset()), (), "/system.slice/holdfast.service", {}, "/init.scope")
    room = NodeRoom(CgroupPlan("v2", "", v2_root=root, v2_controllers=frozenset({"memory"})), view)
    node, told = look(room), room.read()
    assert node.bytes == GB
    assert told is not None
    assert told.total_bytes > GB  # the machine's
    assert left(told.available_bytes, node, GB - 100) == 100


@pytest.mark.parametrize(
    ("available", "used", "expected"), [(5 * GB, GB, GB), (GB // 2, GB, GB // 2), (5 * GB, 3 * GB, 0)]
)
def test_what_is_left_is_never_more_than_the_node_has(available: int, used: int, expected: int) -> None:
    node = Node(kind="declared", bytes=2 * GB, reserve_bytes=0, path="", why="")
    assert left(available, node, used) == expected


@pytest.mark.parametrize(
    ("text", "share"),
    [(b"some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=1.00", 0.125), (b"", 0.0), (b"some avg10=x", 0.0)],
)
def test_pressure_is_read_as_a_share(text: bytes, share: float) -> None:
    assert parse_pressure(text) == share
