"""Each kind of fault, and what it does to the world. x, y and z in [0, 1) are its parameters."""

from __future__ import annotations

from typing import Any

from holdfast.healing import model as m
from holdfast.health.model import Verdict
from tests.simulation.faults import Fault, parameter
from tests.simulation.ground import DECODE
from tests.simulation.probes import PROBE_S, Probes


class Strikes(Probes):
    """do_KIND for every kind in faults.KINDS."""

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

    def do_damaged(self, x: float, y: float, z: float) -> None:
        """Its state is broken, which is found when it has died, or while it runs on without noticing."""
        if y < 0.8:
            self.crash(self.life, 9, None)
        self.at(parameter(0.01, 40.0, x), self.tell_damaged)

    def tell_damaged(self) -> None:
        if self.keeper_up:
            self.check.misbehaved += 1
            self.feed(m.StateDamaged(instance=self.ladder.instance, cause="state.db is malformed"))

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
