"""init and the agent's process, simulated as src/holdfast/init does it: epochs, permits, sweeping, asking."""

from __future__ import annotations

from typing import Any

from holdfast.healing import actions
from holdfast.healing import model as m
from holdfast.healing.model import Tier
from tests.simulation.checker import UP
from tests.simulation.shell import Shell


class Supervisor(Shell):
    """Spawns, reaps, restarts by its permit."""

    def take_permit(self, terms: m.PermitTerms, init_run: int) -> None:
        if init_run != self.init_run or not self.init_up or terms.instance < self.epoch:
            return
        if terms.while_running and not self.alive:
            return
        self.delays, self.not_before = list(terms.delays_s), terms.not_before_mono

    def command(self, act: Any, init_run: int) -> None:
        if init_run != self.init_run or not self.init_up:
            return
        kind = type(act)
        if kind is actions.StopTree:
            self.stop("down", act.grace_s, Tier.NONE)
        elif act.instance < self.epoch:
            return
        elif self.state == "finished" and kind is not actions.Start:
            self.emit(m.Down(reason="finished", instance=self.epoch))
        elif kind is actions.Start:
            self.check.start_arrives(self.alive and self.state == "up")
            if self.state in ("down", "waiting", "asking", "finished"):
                self.spawn("start", act.tier)
            elif self.state in ("stopping", "sweeping"):
                self.after, self.cause, self.tier = "spawn", "start", act.tier
        elif kind is actions.RestartTree:
            self.check.restart_arrives(act, self.alive, self.spoilt)
            self.stop("spawn", act.grace_s, act.tier)
        else:
            self.recreating = act.instance
            self.stop("down", act.grace_s, Tier.RECREATE)

    def stop(self, after: str, grace_s: float, tier: Tier) -> None:
        if self.state in ("down", "waiting", "asking", "finished"):
            if after == "spawn":
                self.spawn("restart", tier)
            else:
                self.state = "down"
                self.emit(m.Down(reason="stopped", instance=self.epoch))
            return
        if after == "spawn" and self.state == "sweeping" and self.done():
            return
        self.after = after
        if self.state != "spawning":
            self.cause, self.tier = "restart", tier
        if self.state == "up":
            self.state, self.expected = "stopping", True
            takes = grace_s if self.bad == "hang" else min(grace_s, 0.05 + 3 * self.rand())
            self.at(takes, self.process_ends, self.life, 0 if takes < grace_s else None, None if takes < grace_s else 9)

    def done(self) -> bool:
        """A job that runs once ended well, by itself."""
        return self.policy.once and self.code == 0 and not self.expected

    def spawn(self, cause: str, tier: Tier) -> None:
        self.check.spawning(cause, tier)
        self.epoch += 1
        self.state, self.after, self.cause, self.expected, self.tier = "spawning", "", cause, False, tier
        self.due_run += 1
        self.life += 1
        self.at(0.002, self.born, self.life)

    def born(self, life: int) -> None:
        if life != self.life or not self.init_up:
            if life == self.life:
                self.at(0.2, self.born, life)
            return
        if self.spawn_fails > 0:
            self.spawn_fails -= 1
            self.check.spawn_failed(self.cause, self.tier)
            self.emit(m.SpawnFailed(reason="no such file", instance=self.epoch, cause=self.cause))
            if self.after == "down":
                self.state, self.after = "down", ""
                self.emit(m.Down(reason="stopped", instance=self.epoch))
            else:
                self.state, self.after = "asking", ""
                self.emit(m.Asked(instance=self.epoch, why="exec"))
            return
        self.state = "up"
        self.alive, self.bad, self.spoilt, self.gated = True, "", False, False
        self.spell += 1
        self.check.spawned(self.cause, self.tier)
        self.emit(m.Spawned(instance=self.epoch, cause="permit" if self.cause == "permit" else self.cause))
        after, self.after = self.after, ""
        if after == "down":
            self.stop("down", self.policy.stop_grace_s, Tier.NONE)
        elif self.loop_left > 0:
            self.loop_left -= 1
            life_s = 0.01 + self.rand() * (0.5 if self.rand() < 0.7 else 50.0)
            self.at(life_s, self.crash, self.life, 1 + int(self.rand() * 3), None)
        start_s = 0.2 + self.rand() * 3
        if self.slow_left > 0:
            self.slow_left -= 1
            start_s = self.policy.start_deadline_s * (0.5 + self.rand() * 2.5)
        if start_s >= self.policy.start_deadline_s - 1.0:
            self.spoilt = True
            self.check.misbehaves()
        self.at(start_s, self.gate, self.life)

    def crash(self, life: int, code: int | None, number: int | None) -> None:
        """The process ends by itself."""
        if life == self.life and self.alive:
            self.process_ends(life, code, number)

    def process_ends(self, life: int, code: int | None, number: int | None) -> None:
        if life != self.life or not self.alive:
            return
        self.alive = False
        self.check.ended(self.expected)
        if not self.init_up:
            self.died_unseen = True
            self.code = code
            return
        self.reap(code, number)

    def reap(self, code: int | None, number: int | None) -> None:
        self.code = code
        calm = self.keeper_up and self.ladder.phase in UP and not self.lag_s and self.ladder.instance == self.epoch
        self.promised = self.delays[0] if calm and self.delays and not self.expected else None
        memory = self.memory_death and not self.expected
        self.emit(m.Exited(instance=self.epoch, code=code, signal=number, expected=self.expected, memory=memory))
        self.state = "sweeping"
        self.at(0.001 + (0.5 * self.rand() if self.rand() < 0.1 else 0.0), self.swept, self.life)

    def swept(self, life: int) -> None:
        if life != self.life or self.state != "sweeping":
            return
        if not self.init_up:
            self.at(0.2, self.swept, life)
            return
        after, self.after = self.after, ""
        if after == "down":
            self.state = "down"
            self.emit(m.Down(reason="stopped", instance=self.epoch))
        elif after == "spawn":
            self.spawn(self.cause, self.tier)
        elif self.policy.once and self.code == 0:
            self.state = "finished"
            self.emit(m.Down(reason="finished", instance=self.epoch))
        elif not self.delays or self.guard_changed:
            if not self.guard_changed:
                self.check.judged(self.promised, None)
            self.guard_changed = False
            self.state = "asking"
            self.emit(m.Asked(instance=self.epoch))
        else:
            self.check.judged(self.promised, self.delays[0])
            due = max(self.now + self.delays.pop(0), self.not_before)
            self.state = "waiting"
            self.due_run += 1
            self.at(due - self.now, self.waited, self.due_run)

    def waited(self, run: int) -> None:
        if run != self.due_run or self.state != "waiting":
            return
        if not self.init_up:
            self.at(0.2, self.waited, run)
            return
        self.spawn("permit", Tier.RESTART)

    def init_returns(self, run: int) -> None:
        if run != self.init_run or self.init_up:
            return
        self.init_up = True
        if self.died_unseen:
            self.died_unseen = False
            known = self.rand() < 0.7
            if not known:
                self.code = None
            self.reap(self.code, None)
        self.connect()
