"""Which CPU counts as work, when it is told whether an agent is idle."""

from __future__ import annotations

import itertools

from holdfast.density import hibernation
from holdfast.keeper.density import signs, sockets
from holdfast.keeper.density.signs import Sight
from holdfast.keeper.density.sockets import Calls, Tcp

EVERY_S = 5.0
LISTENS = Calls(visible=True, listens=(Tcp(9, sockets.LISTEN, (b"", 80), (b"", 0), 0, 2),))


def idle_after(shares: list[float], pid: int = 7) -> list[bool]:
    """For each look after the first: whether an agent that used these shares of a core between them is idle."""
    used = [0.0, *itertools.accumulate(share * EVERY_S for share in shares)]
    before: Sight | None = None
    said = []
    for number, cpu_s in enumerate(used):
        before = signs.followed(before, Sight(pid, number * EVERY_S, LISTENS, cpu_s))
        said.append(hibernation.idle(signs.signs(None, before, healthy=True, next_s=None)))
    assert said[0] is False  # one look tells no share
    return said[1:]


def test_housekeeping_of_a_moment_is_no_work() -> None:
    assert all(idle_after([0.01, 0.042, 0.03, 0.1, 0.02, 0.036]))


def test_a_turn_is_work_and_soon_forgotten() -> None:
    told = idle_after([0.01, 0.5] + [0.02] * 12)
    assert told[:2] == [True, False]
    assert told[-1] is True


def test_a_new_process_is_looked_at_anew() -> None:
    old = Sight(7, 0.0, LISTENS, 100.0, 0.9)
    assert signs.followed(old, Sight(8, 5.0, old.calls, 0.1)).share is None
