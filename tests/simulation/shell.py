"""The keeper's shell, simulated: it stores before it acts, may be killed before either, and comes back by hello.

And the channel from init: in order, repeated after a reconnect until acknowledged, seldom with a loss.
"""

from __future__ import annotations

from typing import Any

from holdfast.healing import actions
from holdfast.healing import model as m
from holdfast.healing.model import Ladder, Phase, Tier
from tests.simulation.ground import DECODE, ENCODE, Ground


class Shell(Ground):
    """Feeds the ladder, stores, acts."""

    def feed(self, observation: Any) -> None:
        """The keeper handles one observation: decide, store, act."""
        if not self.keeper_up:
            return
        self.events += 1
        old = self.ladder
        roll = self.rand()
        new, acts = self.decide(old, observation, self.policy, self.now, roll)
        if self.trace is not None:
            self.say(observation, new, acts)
        self.check.decided(old, observation, new, acts, roll, self.decide)
        self.ladder = new
        if new is old and not acts:
            return
        if self.die_at == "before_store":
            self.keeper_dies()
            return
        self.check.stored(old, observation, new, acts)
        level = acts[0].level if acts and type(acts[0]) is actions.Remember else None
        if level is not None:
            self.stored = ENCODE(new)
            if level == "durable":
                self.stored_durable = self.stored
        if self.die_at == "before_act":
            self.keeper_dies()
            return
        self.send_permit()  # before the acts: a later instance would void it
        for act in acts:
            kind = type(act)
            if kind is actions.Arm:
                if act.due_mono is not None:
                    self.at(max(0.0, act.due_mono - self.now), self.timer, self.keeper_run, act.due_mono)
            elif kind is actions.AskSlot:
                self.at(self.rand() * 20, self.slot)
            elif kind in (actions.Start, actions.RestartTree, actions.StopTree, actions.Recreate, actions.Restore):
                self.at(0.0002, self.command, act, self.init_run)

    def say(self, observation: Any, new: Ladder, acts: Any) -> None:
        assert self.trace is not None
        told = " ".join(repr(a) for a in acts if type(a) not in (actions.Remember, actions.Arm))
        due = "-" if new.due_mono is None else f"{new.due_mono:.3f}"
        self.trace.append(
            f"{self.now:12.3f} {observation!r} -> {new.phase} tier={int(new.tier)} n={new.instance} "
            f"run={new.running} pend={int(new.pending)} due={due} used={len(new.restarts_mono)} {told}"
        )

    def timer(self, run: int, due: float) -> None:
        if run == self.keeper_run and self.ladder.due_mono == due:
            self.feed(m.Timer())

    def slot(self) -> None:
        if self.ladder.phase is Phase.QUEUED:
            self.feed(m.SlotGranted())

    def send_permit(self) -> None:
        terms = self.permit(self.ladder, self.policy, self.now, self.rand())
        if terms is None:
            return
        self.check.permitted(self.ladder, terms)
        last = self.sent
        if (
            last is None
            or len(last.delays_s) != len(terms.delays_s)
            or last.instance != terms.instance
            or last.while_running is not terms.while_running
            or last.not_before_mono != terms.not_before_mono
        ):
            self.sent = terms
            self.at(0.0002, self.take_permit, terms, self.init_run)

    def keeper_dies(self, down_s: float | None = None) -> None:
        self.die_at = ""
        self.keeper_up = False
        self.keeper_run += 1
        if down_s is None:
            down_s = 0.3 if self.rand() < 0.8 else self.rand() * 2000
        self.at(down_s, self.keeper_returns, self.keeper_run)

    def keeper_returns(self, run: int) -> None:
        if run != self.keeper_run or self.keeper_up:
            return
        if not self.init_up:
            self.at(0.05, self.keeper_returns, run)
            return
        self.keeper_up = True
        self.ladder = DECODE(self.stored)
        self.recreating = -1
        if self.booted:
            self.booted = False
            self.unacked.clear()
            self.feed(m.NodeBooted(instance=self.epoch, finished=self.state == "finished"))
        due = self.ladder.due_mono
        if due is not None:
            self.at(max(0.0, due - self.now), self.timer, self.keeper_run, due)
        if self.ladder.phase is Phase.QUEUED:
            self.at(self.rand(), self.slot)
        self.connect()

    def connect(self) -> None:
        """hello: events not acknowledged once more, then the world as it is."""
        if not (self.keeper_up and self.init_up):
            return
        run = self.keeper_run
        self.sent = None
        for _, event in list(self.unacked):
            self.feed(event)
            if run != self.keeper_run:
                return
        self.unacked.clear()
        self.feed(m.Starved(on=self.starved))
        alive = self.state in ("up", "stopping")
        if self.state not in ("spawning", "finished") and run == self.keeper_run and self.epoch:
            self.feed(m.Adopted(instance=self.epoch, running=alive))
        if self.state == "asking" and run == self.keeper_run:
            self.feed(m.Asked(instance=self.epoch))
        if self.state == "finished" and run == self.keeper_run:
            self.feed(m.Down(reason="finished", instance=self.epoch))
        if self.keeper_up and run == self.keeper_run:
            self.send_permit()
            self.probe_anew()

    def emit(self, event: Any) -> None:
        """init tells the keeper, in order; kept until acknowledged."""
        if (self.lossy and self.rand() < 0.5) or type(event) is self.lose:
            self.lossy -= self.lossy > 0
            if type(event) is self.lose is m.Spawned:
                self.at(0.02 + self.rand(), self.crash, self.life, 0 if self.rand() < 0.5 else 5, None)
            self.lose = None
            self.check.lost = True
            if self.trace is not None:
                self.trace.append(f"{self.now:12.3f} (lost: {event!r})")
            # Events are only ever lost while no keeper listens for long; its return then tells the state.
            self.at(self.rand() * 5, self.keeper_dies, 0.3)
            return
        self.seq += 1
        self.unacked.append((self.seq, event))
        at = max(self.now + 0.0002 + self.lag_s * self.rand(), self.last_delivery)
        self.last_delivery = at
        self.at(at - self.now, self.deliver, self.seq, event, self.keeper_run, self.init_run)

    def deliver(self, seq: int, event: Any, run: int, init_run: int) -> None:
        if run != self.keeper_run or init_run != self.init_run or not self.keeper_up:
            return
        self.feed(event)
        if self.keeper_up and run == self.keeper_run:
            if self.rand() < 0.97:  # else the acknowledgement is late and the event comes twice after a reconnect
                self.unacked = [entry for entry in self.unacked if entry[0] > seq]
            if type(event) is m.Down and event.reason == "stopped" and self.recreating == event.instance:
                self.recreating = -1
                self.at(
                    0.05 + self.rand(),
                    self.command,
                    actions.Start(instance=event.instance, tier=Tier.RECREATE),
                    self.init_run,
                )
