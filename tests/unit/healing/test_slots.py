"""Start slots as tables: what a start takes, and who gets in by it."""

from __future__ import annotations

import pytest

from holdfast.density.admission import Starting, Waiting, admit
from holdfast.healing.slots import weight
from holdfast.limits import SLOT_HELD_MAX_S

HEAVY, CORE, LIGHT = 20.0, 10.0, 0.2
ROOM = 1 << 40

Wish = tuple[str, float | None, int]


def wait(name: str, cpu: float | None = CORE, priority: int = 50) -> Wish:
    return name, cpu, priority


def granted(waiting: list[Wish], starting: list[tuple[float | None, float]], cores: int) -> tuple[str, ...]:
    """Names that may start. `starting`: cost in CPU seconds, and since when."""
    line = [
        Waiting(name=name, priority=priority, since_mono=0.0, slots=weight(cpu, cores), need_bytes=1)
        for name, cpu, priority in waiting
    ]
    busy = [Starting(name=f"s{at}", slots=weight(cpu, cores), since_mono=at) for cpu, at in starting]
    return admit(line, busy, ROOM, ROOM, cores, "", 0.0).names


@pytest.mark.parametrize(
    ("waiting", "starting", "cores", "names"),
    [
        ([], [], 2, ()),
        ([wait("b"), wait("a"), wait("c")], [], 2, ("a", "b")),
        ([wait("a"), wait("z", priority=90)], [], 1, ("z",)),
        ([wait("a", HEAVY), wait("b")], [], 2, ("a",)),
        ([wait("a", HEAVY), wait("b")], [], 1, ("a",)),
        ([wait("a", HEAVY), wait("b"), wait("c", LIGHT)], [(CORE, 0.0)], 2, ("c",)),
        ([wait("a", None), wait("b", None)], [], 1, ("a",)),
        ([wait("a")], [(None, -SLOT_HELD_MAX_S)], 1, ("a",)),
        ([wait("a")], [(LIGHT, 0.0)], 1, ("a",)),
        ([wait(f"l{i}", LIGHT) for i in range(9)], [], 1, tuple(f"l{i}" for i in range(9))),
        ([wait("big", HEAVY, 90), wait("small", 2.0)], [(2.0, 0.0)], 2, ()),
    ],
)
def test_slots_go_by_priority_then_name_while_cores_last_and_nobody_heavy_overtakes(
    waiting: list[Wish], starting: list[tuple[float | None, float]], cores: int, names: tuple[str, ...]
) -> None:
    assert granted(waiting, starting, cores) == names


@pytest.mark.parametrize("cores", [0, 1, 2, 64])
def test_the_heaviest_start_fits_an_idle_machine_of_any_size(cores: int) -> None:
    assert granted([wait("a", 1e6)], [], cores) == ("a",)
    assert weight(1e6, cores) == max(cores, 1)
