"""Start slots as tables."""

from __future__ import annotations

import pytest

from holdfast.healing.slots import Starting, Waiting, grant, weight
from holdfast.limits import SLOT_HELD_MAX_S

HEAVY, CORE, LIGHT = 20.0, 10.0, 0.2
BUSY = [Starting(name="s", start_cpu_s=CORE, since_mono=0)]


def wait(name: str, cpu: float | None = CORE, priority: int = 50) -> Waiting:
    return Waiting(name=name, priority=priority, start_cpu_s=cpu)


@pytest.mark.parametrize(
    ("waiting", "starting", "cores", "names"),
    [
        ([], [], 2, ()),
        ([wait("b"), wait("a"), wait("c")], [], 2, ("a", "b")),
        ([wait("a"), wait("z", priority=90)], [], 1, ("z",)),
        ([wait("a", HEAVY), wait("b")], [], 2, ("a",)),
        ([wait("a", HEAVY), wait("b")], [], 1, ("a",)),
        (
            [wait("a", HEAVY), wait("b"), wait("c", LIGHT)],
            [Starting(name="s", start_cpu_s=CORE, since_mono=0)],
            2,
            ("c",),
        ),
        ([wait("a", None), wait("b", None)], [], 1, ("a",)),
        ([wait("a")], [Starting(name="s", since_mono=-SLOT_HELD_MAX_S)], 1, ("a",)),
        ([wait("a")], [Starting(name="s", start_cpu_s=LIGHT, since_mono=0)], 1, ("a",)),
        ([wait(f"l{i}", LIGHT) for i in range(9)], [], 1, tuple(f"l{i}" for i in range(9))),
    ],
)
def test_slots_go_by_priority_then_name_while_cores_last(
    waiting: list[Waiting], starting: list[Starting], cores: int, names: tuple[str, ...]
) -> None:
    assert grant(waiting, starting, cores, 0.0) == names


def test_nobody_overtakes_the_first_that_does_not_fit() -> None:
    waiting = [wait("big", HEAVY, priority=90), wait("small", 2.0)]
    assert grant(waiting, [Starting(name="s", start_cpu_s=2.0, since_mono=0)], 2, 0.0) == ()


def test_the_heaviest_start_fits_an_idle_machine_of_any_size() -> None:
    for cores in (0, 1, 2, 64):
        assert grant([wait("a", 1e6)], [], cores, 0.0) == ("a",)
        assert weight(1e6, cores) == max(cores, 1)
