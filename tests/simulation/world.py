"""The world one agent lives in: its processes, init, the channel between init and keeper, and the keeper's shell.

Time jumps from event to event. init is modelled as src/holdfast/init does it: epochs, permits, sweeping, asking,
events kept until acknowledged and told again after a reconnect. The keeper stores before it acts and may be killed
before either. What really happens is told to the checker, which knows nothing of the rules' inside.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from holdfast.healing import model as m
from holdfast.healing.model import Ladder, Phase, Tier
from holdfast.health.model import Verdict
from tests.simulation.checker import UP, Checker
from tests.simulation.faults import Fault, Plan, parameter

ENCODE = msgspec.json.Encoder().encode
DECODE = msgspec.json.Decoder(Ladder).decode
PROBE_S = 2.0
EVENTS_MAX = 20_000
BAD = {"hang": Verdict.SLOW, "refuse": Verdict.REFUSED, "failing": Verdict.FAILING, "foreign": Verdict.FOREIGN}

Decide = Callable[[Ladder, Any, m.Policy, float, float], tuple[Ladder, tuple[Any, ...]]]
PermitRule = Callable[[Ladder, m.Policy, float, float], m.PermitTerms | None]


class World:
    def __init__(self, plan: Plan, decide: Decide, permit: PermitRule, trace: list[str] | None = None) -> None:
        self.policy = plan.policy
        self.random = Random(plan.seed + "world")
        self.rand = self.random.random
        self.decide, self.permit = decide, permit
        self.trace = trace
        self.now = 1000.0
        self.heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count = 0
        self.events = 0
        self.check = Checker(plan.policy, self)
        self.lossy = 0  # events still to be lost
        self.lose: type | None = None  # the next event of this kind is lost
        # the process
        self.alive = False
        self.bad = ""  # why it answers badly, "" when it does not
        self.spoilt = False  # it gave a reason to be restarted at some time of its life
        self.gated = False  # the gate would answer well
        self.life = 0  # grows with each spawn and each end of a bad spell: stale plans are dropped by it
        self.spell = 0
        self.loop_left = 0
        self.slow_left = 0
        self.start_s = 2.0
        self.spawn_fails = 0
        self.starved = False
        self.died_unseen = False
        # init
        self.init_up = True
        self.init_run = 0
        self.state = "down"
        self.epoch = 0
        self.delays: list[float] = []
        self.not_before = 0.0
        self.after = ""
        self.expected = False
        self.cause = ""
        self.tier = Tier.NONE
        self.code: int | None = None
        self.guard_changed = False
        self.due_run = 0
        self.promised: float | None = None
        self.seq = 0
        self.unacked: list[tuple[int, Any]] = []
        # the keeper
        self.ladder = Ladder()
        self.stored: bytes = ENCODE(self.ladder)
        self.stored_durable: bytes = self.stored
        self.keeper_up = True
        self.keeper_run = 0
        self.die_at: str = ""
        self.lag_s = 0.0
        self.last_delivery = 0.0
        self.sent: m.PermitTerms | None = None
        self.recreating = -1
        self.booted = False
        self.last_fault = self.now + max((fault.at_s for fault in plan.faults), default=0.0)
        for fault in plan.faults:
            self.at(fault.at_s, self.strike, fault)
        self.at(0.0, self.slot)

    # --- time ---------------------------------------------------------------------------------------------
    def at(self, delay_s: float, what: Callable[..., None], *args: Any) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + delay_s, self.count, what, args))

    def run(self, until: float) -> None:
        heap = self.heap
        while heap and heap[0][0] <= until:
            self.now, _, what, args = heapq.heappop(heap)
            what(*args)
            if self.events > EVENTS_MAX:
                self.check.fail("bounded", f"more than {EVENTS_MAX} events in one episode")
        self.now = until

    def episode(self) -> None:
        """All faults, then calm: everything must come to rest as a person wants it, and be forgiven after a window."""
        self.run(self.last_fault + 500.0)
        self.calm()
        self.run(self.now + 3 * 3600.0 + 4 * self.policy.start_deadline_s)
        self.check.at_rest(self.ladder, self.alive, self.state)
        self.run(self.now + self.policy.window_s + 1.0)
        self.check.forgiven(self.ladder, self.permit(self.ladder, self.policy, self.now, 0.0))

    def calm(self) -> None:
        self.spawn_fails = self.loop_left = self.slow_left = 0
        self.guard_changed = False
        self.lossy = 0
        self.lose = None
        self.lag_s = 0.0
        self.die_at = ""
        if not self.init_up:
            self.init_returns(self.init_run)
        if not self.keeper_up:
            self.keeper_returns(self.keeper_run)
        if self.starved:
            self.unstarve()
        self.go_good(self.spell)

    # --- the keeper's shell -------------------------------------------------------------------------------
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
        level = acts[0].level if acts and type(acts[0]) is m.Remember else None
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
            if kind is m.Arm:
                if act.due_mono is not None:
                    self.at(max(0.0, act.due_mono - self.now), self.timer, self.keeper_run, act.due_mono)
            elif kind is m.AskSlot:
                self.at(self.rand() * 20, self.slot)
            elif kind in (m.Start, m.RestartTree, m.StopTree, m.Recreate, m.Restore):
                self.at(0.0002, self.command, act, self.init_run)

    def say(self, observation: Any, new: Ladder, acts: Any) -> None:
        assert self.trace is not None
        told = " ".join(repr(a) for a in acts if type(a) not in (m.Remember, m.Arm))
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

    # --- channel ------------------------------------------------------------------------------------------
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
                    m.Start(instance=event.instance, tier=Tier.RECREATE),
                    self.init_run,
                )

    # --- init ---------------------------------------------------------------------------------------------
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
        if kind is m.StopTree:
            self.stop("down", act.grace_s, Tier.NONE)
        elif act.instance < self.epoch or (self.state == "finished" and kind is not m.Start):
            return
        elif kind is m.Start:
            self.check.start_arrives(self.alive and self.state == "up")
            if self.state in ("down", "waiting", "asking", "finished"):
                self.spawn("start", act.tier)
            elif self.state in ("stopping", "sweeping"):
                self.after, self.cause, self.tier = "spawn", "start", act.tier
        elif kind is m.RestartTree:
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
        self.after = after
        if self.state != "spawning":
            self.cause, self.tier = "restart", tier
        if self.state == "up":
            self.state, self.expected = "stopping", True
            takes = grace_s if self.bad == "hang" else min(grace_s, 0.05 + 3 * self.rand())
            self.at(takes, self.process_ends, self.life, 0 if takes < grace_s else None, None if takes < grace_s else 9)

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
        self.emit(m.Exited(instance=self.epoch, code=code, signal=number, expected=self.expected))
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

    # --- health -------------------------------------------------------------------------------------------
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

    # --- faults -------------------------------------------------------------------------------------------
    def strike(self, fault: Fault) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:12.3f} * {fault.kind} {fault.x:.3f} {fault.y:.3f} {fault.z:.3f}")
        getattr(self, f"do_{fault.kind}")(fault.x, fault.y, fault.z)

    def do_crash(self, x: float, y: float, z: float) -> None:
        if x < 0.3 and self.policy.has_gate and self.keeper_up and self.alive and self.gated:
            self.at(y * 0.0004, self.probe_dead, self.epoch)
        if y < 0.5:
            self.crash(self.life, 1 + int(z * 100), None)
        else:
            self.crash(self.life, None, 9 if z < 0.5 else 11)

    def probe_dead(self, epoch: int) -> None:
        """A probe that finds nobody listening, before or after the exit is known."""
        if epoch == self.epoch and not self.alive:
            self.feed(m.Checked(instance=epoch, verdict=Verdict.REFUSED))

    def do_crash_loop(self, x: float, y: float, z: float) -> None:
        self.loop_left = 1 + int(x * 9)
        self.crash(self.life, 1, None)

    def do_exit_zero(self, x: float, y: float, z: float) -> None:
        self.crash(self.life, 0, None)

    def do_hang(self, x: float, y: float, z: float) -> None:
        self.go_bad("hang", parameter(1.0, 3000.0, x))

    def do_refuse(self, x: float, y: float, z: float) -> None:
        self.go_bad("refuse", parameter(0.5, 600.0, x))

    def do_failing(self, x: float, y: float, z: float) -> None:
        self.go_bad("failing", parameter(0.5, 2000.0, x))

    def do_blip(self, x: float, y: float, z: float) -> None:
        self.go_bad("hang", 0.5 + x * 7.0)

    def do_foreign(self, x: float, y: float, z: float) -> None:
        self.go_bad("foreign", parameter(0.5, 900.0, x))

    def do_slow_start(self, x: float, y: float, z: float) -> None:
        self.slow_left = 1 + int(x * 7)
        if y < 0.5:
            self.crash(self.life, 3, None)
        elif z < 0.5 and self.alive and self.ladder.running:
            self.feed(m.StartProgressed(instance=self.epoch, until_mono=self.now + x * 200))

    def do_spawn_fail(self, x: float, y: float, z: float) -> None:
        self.spawn_fails = 1 + int(x * 7)
        if y < 0.5:
            self.crash(self.life, 4, None)

    def do_starve(self, x: float, y: float, z: float) -> None:
        if self.starved:
            return
        self.starved = True
        self.feed(m.Starved(on=True))
        if self.policy.has_gate and self.alive and self.keeper_up:
            for i in range(1 + int(z * 5)):
                verdict = Verdict.STARVED if y < 0.7 else Verdict.SLOW
                self.at(0.01 + i * PROBE_S, self.probe_starved, self.epoch, verdict)
        self.at(parameter(1.0, 1500.0, x), self.unstarve)

    def probe_starved(self, epoch: int, verdict: Verdict) -> None:
        if self.starved and epoch == self.epoch and self.keeper_up and self.ladder.starved:
            self.feed(m.Checked(instance=epoch, verdict=verdict))

    def unstarve(self) -> None:
        if not self.starved:
            return
        self.starved = False
        self.feed(m.Starved(on=False))
        self.probe_anew()

    def do_degraded(self, x: float, y: float, z: float) -> None:
        self.feed(m.Degraded(text="model down" if x < 0.6 else ""))

    def order(self, what: Any) -> None:
        if self.keeper_up:
            self.check.ordered(what)
            self.feed(m.Commanded(what=what))

    def do_stop(self, x: float, y: float, z: float) -> None:
        self.order("stop")
        self.at(parameter(0.01, 400.0, y), self.order, "start" if z < 0.8 else "restart")

    def do_start(self, x: float, y: float, z: float) -> None:
        self.order("start")

    def do_restart(self, x: float, y: float, z: float) -> None:
        self.order("restart")

    def do_stopped_crash(self, x: float, y: float, z: float) -> None:
        """It dies by itself in the very moment a person stops it."""
        self.order("stop" if x < 0.5 else "restart")
        self.at(y * 0.0004, self.crash, self.life, 7, None)
        self.at(1.0 + z * 30, self.order, "start")

    def do_keeper_kill(self, x: float, y: float, z: float) -> None:
        if not self.keeper_up:
            return
        if x < 0.35:
            self.die_at = "before_store"
        elif x < 0.7:
            self.die_at = "before_act"
        else:
            self.keeper_dies(0.3 if y < 0.7 else z * 3000)

    def do_init_kill(self, x: float, y: float, z: float) -> None:
        if not self.init_up:
            return
        self.init_up = False
        self.init_run += 1
        self.at(0.01 + x * 0.9, self.init_returns, self.init_run)
        if y < 0.3:
            self.at(0.005, self.crash, self.life, 1 + int(z * 10), None)

    def do_reboot(self, x: float, y: float, z: float) -> None:
        self.check.rebooted()
        self.life += 1
        self.spell += 1
        self.due_run += 1
        self.alive = self.died_unseen = self.starved = False
        self.bad = ""
        if self.state not in ("finished", "asking"):
            self.state = "down"
        self.delays, self.not_before, self.after, self.expected = [], 0.0, "", False
        if x < 0.3:
            self.stored = self.stored_durable  # plain writes had not reached the disk
            self.check.rolled_back(DECODE(self.stored))
        self.init_up, self.keeper_up = True, True
        self.init_run += 1
        self.booted = True
        self.keeper_dies(1.0 + y * 30)

    def do_lag(self, x: float, y: float, z: float) -> None:
        self.lag_s = parameter(0.0, 8.0, x)
        self.at(y * 60, self.no_lag)

    def no_lag(self) -> None:
        self.lag_s = 0.0

    def do_guard_change(self, x: float, y: float, z: float) -> None:
        self.guard_changed = True
        if y < 0.6:
            self.crash(self.life, 78, None)

    def do_lost_event(self, x: float, y: float, z: float) -> None:
        self.lossy = 1 + int(x * 4)

    def do_gap(self, x: float, y: float, z: float) -> None:
        """The keeper hears of an instance only by its exit, or of an exit only by the next instance."""
        self.lose = m.Spawned if x < 0.6 else m.Exited
        if y < 0.6:
            self.crash(self.life, 0 if z < 0.2 else 6, None)

    def do_quiet(self, x: float, y: float, z: float) -> None:
        """Nothing happens: room for counts to decay."""

    def do_noise(self, x: float, y: float, z: float) -> None:
        """Late, repeated and pointless observations: all of the past, so none may change anything that matters."""
        n = max(1, self.ladder.instance - int(x * 3))
        old = max(1, self.ladder.instance - 1)
        choices: list[Any] = [
            m.Spawned(instance=n, cause="permit"),
            m.Exited(instance=old, code=1),
            m.Timer(),
            m.GatePassed(instance=old),
            m.Checked(instance=old, verdict=Verdict.REFUSED),
            m.Swept(instance=n, left=2),
            m.Down(reason="stopped", instance=old),
            m.SpawnFailed(reason="late", instance=n),
            m.StartProgressed(instance=old, until_mono=self.now + 1e6),
            m.Asked(instance=old),
            m.Adopted(instance=old, running=bool(z < 0.5)),
        ]
        noise = choices[int(y * len(choices))]
        known = self.ladder.instance
        if getattr(noise, "instance", 0) >= known and (known == 0 or type(noise) is not m.Spawned):
            noise = m.Timer()  # not of the past
        for _ in range(1 + int(z * 3)):
            self.feed(noise)
