"""How well the agent answers, and the probes that find out. Only answers that could change something are asked for."""

from __future__ import annotations

from holdfast.healing import model as m
from holdfast.health.model import Verdict
from tests.simulation.supervisor import Supervisor

PROBE_S = 2.0
BAD = {"hang": Verdict.SLOW, "refuse": Verdict.REFUSED, "failing": Verdict.FAILING, "foreign": Verdict.FOREIGN}


class Probes(Supervisor):
    """The start gate, bad spells, verdicts."""

    def gate(self, life: int) -> None:
        """The agent is ready to pass its gate."""
        if life != self.life or not self.alive:
            return
        if self.starved or self.bad in ("hang", "refuse"):
            self.at(1.0 + self.rand() * 5, self.gate, life)
            return
        self.gated = True
        self.observe_gate()

    def observe_gate(self) -> None:
        if (
            self.policy.has_gate
            and self.alive
            and self.gated
            and self.keeper_up
            and self.bad == ""
            and self.state == "up"
        ):
            self.at(0.01, self.probe_gate, self.epoch)

    def probe_gate(self, epoch: int) -> None:
        if self.alive and self.gated and epoch == self.epoch and self.bad == "" and self.keeper_up:
            if epoch > self.ladder.instance:
                self.at(1.0, self.probe_gate, epoch)  # not asked before the keeper knows of the instance
            else:
                self.feed(m.GatePassed(instance=epoch))

    def go_bad(self, why: str, for_s: float) -> None:
        if not self.alive:
            return
        self.bad, self.spoilt = why, True
        self.check.misbehaves()
        self.spell += 1
        if self.policy.has_gate:
            self.at(self.rand() * PROBE_S, self.probe_bad, self.spell, self.epoch, 0)
        self.at(for_s, self.go_good, self.spell)

    def go_good(self, spell: int) -> None:
        if spell != self.spell or not self.alive:
            return
        self.bad = ""
        self.spell += 1
        self.probe_anew()

    def probe_anew(self) -> None:
        """A good answer, or the gate once more, or the bad answers of a keeper that just came."""
        if not (self.alive and self.policy.has_gate and self.keeper_up):
            return
        if self.bad:
            self.at(self.rand() * PROBE_S, self.probe_bad, self.spell, self.epoch, 0)
        elif self.gated:
            if self.ladder.gate_passed:
                self.at(self.rand() * PROBE_S, self.probe_good, self.spell, self.epoch)
            else:
                self.observe_gate()

    def probe_good(self, spell: int, epoch: int) -> None:
        if spell == self.spell and epoch == self.epoch and self.alive and not self.bad:
            self.feed(m.Checked(instance=epoch, verdict=Verdict.STARVED if self.starved else Verdict.OK))
            if self.starved and self.keeper_up:
                self.at(20.0, self.probe_good, spell, epoch)

    def probe_bad(self, spell: int, epoch: int, times: int) -> None:
        if epoch != self.epoch or spell != self.spell or not self.keeper_up:
            return
        if not self.alive:
            if self.rand() < 0.5 and self.ladder.running:
                self.feed(m.Checked(instance=epoch, verdict=Verdict.REFUSED))
            return
        verdict = BAD[self.bad]
        if self.starved and verdict is Verdict.SLOW:
            verdict = Verdict.STARVED
        self.feed(m.Checked(instance=epoch, verdict=verdict))
        if times < 6 or self.starved:
            self.at(PROBE_S * (1 if times < 6 else 10), self.probe_bad, spell, epoch, times + 1)
