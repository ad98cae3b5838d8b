"""Being set aside and called back, and deaths for memory, as faults. Who sets aside says so until the ladder shows it.

The keeper's semaphore, sleepers and scaler are level-triggered: a word that a dying keeper lost is said once more.
"""

from __future__ import annotations

from typing import Literal

from holdfast.healing import model as m
from holdfast.healing.model import Phase
from tests.simulation.faults import parameter
from tests.simulation.strikes import Strikes

KINDS: tuple[Literal["shed", "hibernating", "spare"], ...] = ("shed", "hibernating", "spare")
SAID_AGAIN_S = 0.3


class Setting(Strikes):
    """do_set_aside, do_call_back, do_memory_death; see faults.KINDS."""

    def do_set_aside(self, x: float, y: float, z: float) -> None:
        why = KINDS[int(x * 3)]
        grace_s = None if z < 0.4 else z * 3
        self.set_aside(why, grace_s, self.epoch)
        if y < 0.5:
            self.at(parameter(0.001, 3.0, y * 2), self.call_back)
        elif y < 0.9:
            self.at(parameter(0.001, 2000.0, (y - 0.5) * 2.5), self.call_back)
        if z > 0.7:  # not fast enough: it has to go at once; or it turns out to be needed even less
            self.at(parameter(0.001, 2.0, x), self.set_aside, KINDS[int(z * 100) % 3], 0.0, self.epoch)

    def set_aside(self, why: Literal["shed", "hibernating", "spare"], grace_s: float | None, epoch: int) -> None:
        if epoch != self.epoch or not self.keeper_up:
            return
        self.check.wild = True
        self.feed(m.SetAside(why=why, text=f"{why} for a test", grace_s=grace_s))
        if self.ladder.aside and self.ladder.phase is Phase.STOPPING and self.rand() < 0.5:
            self.at(SAID_AGAIN_S, self.set_aside, why, grace_s, epoch)

    def call_back(self) -> None:
        if not self.keeper_up:
            self.at(SAID_AGAIN_S, self.call_back)
            return
        self.check.wild = True
        self.feed(m.CalledBack(text="there is room"))
        if self.ladder.aside:  # the keeper died before it was stored
            self.at(SAID_AGAIN_S, self.call_back)

    def do_call_back(self, x: float, y: float, z: float) -> None:
        self.call_back()

    def do_memory_death(self, x: float, y: float, z: float) -> None:
        """The kernel kills it for what it uses itself; and the next instance too, if x says so."""
        self.for_memory = 1 + int(x * 3)
        self.die_for_memory(self.life)
        self.at(5.0 + y * 60, self.die_again, self.for_memory)

    def die_again(self, left: int) -> None:
        if left <= 1:
            return
        self.die_for_memory(self.life)
        self.at(1.0 + self.rand() * 30, self.die_again, left - 1)

    def die_for_memory(self, life: int) -> None:
        if life == self.life and self.alive and not self.expected:
            self.memory_death = True
            self.crash(life, None, 9)
            self.memory_death = False
