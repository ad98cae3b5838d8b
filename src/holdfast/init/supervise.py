"""Init's work on agents: start, stop, restart by permit, sweep, adopt. The shell around agent.py's states.

Order within one turn of the loop, on which crash safety rests: transitions change memory and collect records and
births; `settle` writes the records first, then asks the spawner for the births, then lets the keeper know.
"""

from __future__ import annotations

import errno
import heapq
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from holdfast.init import procfs, tree
from holdfast.init.agent import LIVING, Agent, judge_restart
from holdfast.init.exit_codes import ExitCodes, Status, status_from_wait
from holdfast.init.held_output import HeldOutput
from holdfast.init.journal import Journal
from holdfast.init.memory import Memory
from holdfast.init.processes import Processes, signal_main
from holdfast.init.protocol import AgentDef, Permit

SWEEP_FIRST_S = 0.001
SWEEP_MAX_S = 0.1
SWEEP_GRACE_S = 0.02
SPAWN_RETRY_S = 0.2  # the spawner could not fork: memory or pids are short
SPAWN_RETRIES_UNTOLD = 25  # 5 s: a short shortage is nobody's failure
SERVICE_QUICK_S = 5.0
SERVICE_DELAY_MAX_S = 5.0
GUARDED_GONE = None


def stat_guarded(paths: list[str]) -> dict[str, list[int] | None]:
    found: dict[str, list[int] | None] = {}
    for path in paths:
        try:
            status = os.stat(path)
            found[path] = [status.st_mtime_ns, status.st_size, status.st_ino]
        except OSError:
            found[path] = GUARDED_GONE
    return found


class Supervisor(Memory):
    """All agents of this init, Holdfast's own services (`@keeper`, `@logger`) included."""

    def __init__(
        self,
        journal: Journal,
        home_id: str,
        watch_pidfd: Callable[[int, str], None],
        forget_pidfd: Callable[[int], None],
    ) -> None:
        super().__init__(journal)
        self.watch_pidfd, self.forget_pidfd = watch_pidfd, forget_pidfd
        self.processes = Processes(home_id)
        self.codes = ExitCodes(self.agents, forget_pidfd, self.exited, self.look_at)
        self.output = HeldOutput()
        self.strangers: Callable[[Agent], None] | None = None  # set when the journal was lost
        self.replaced = False  # guard started this init in the place of one that died
        self.early_exits: dict[int, int] = {}  # pid -> wait status of children the spawner has not named yet
        self.timers: list[tuple[float, str]] = []
        self.births: deque[str] = deque()
        self.joins: dict[str, None] = {}  # agents whose processes are to be brought into their cgroups; see joining.py
        self.in_flight: set[str] = set()  # births asked for and not answered

    # --- what the keeper asks for --------------------------------------------------------------------------
    def define(self, name: str, definition: AgentDef, permit: Permit, epoch_floor: int = 0) -> None:
        """Take on an agent or change one; a running instance keeps what it was started with until its next spawn."""
        agent = self.agents.get(name)
        if agent is None:
            agent = self.agents[name] = Agent(name, definition, permit, epoch=epoch_floor)
            if self.strangers is not None:
                self.strangers(agent)
        elif agent.state in LIVING:
            agent.next, agent.permit = definition, permit
            if agent.definition.heed(definition):
                self.joins[name] = None
        else:
            agent.definition, agent.permit, agent.next = definition, permit, None
        agent.epoch = max(agent.epoch, epoch_floor)
        self.output.hold(agent)
        self.records.append(agent.definition_record())
        self._note(agent)

    def set_permit(self, agent: Agent, permit: Permit) -> None:
        agent.permit = permit
        self.records.append(agent.definition_record())
        self._note(agent)

    def start(self, agent: Agent, cause: str = "start") -> None:
        if agent.state in ("down", "waiting", "asking", "finished"):
            self._spawn(agent, cause)
        elif agent.state in ("stopping", "sweeping"):
            agent.after, agent.cause = "spawn", cause
            self._note(agent)

    def stop(self, agent: Agent, number: int, grace_s: float, cause: str, *, after: str = "down") -> None:
        """End the whole tree, then stay down (or spawn again with after="spawn")."""
        if after == "spawn" and agent.state == "sweeping" and agent.is_done():
            return  # it did its job before the order came; what is being swept are its leftovers
        agent.cause = cause
        if agent.state in ("down", "waiting", "asking", "finished"):
            if after == "spawn":
                self._spawn(agent, cause)
            else:
                self._down(agent, "stopped")
            return
        agent.after = after
        now = time.monotonic()
        if agent.state == "up":
            agent.state, agent.expected = "stopping", True
            self._arm(agent, now + grace_s)
            signal_main(agent, number)
            signal_main(agent, signal.SIGCONT)
        elif agent.state == "stopping":
            self._arm(agent, min(agent.due_mono, now + grace_s))
        self._note(agent)

    def kill(self, agent: Agent, cause: str) -> None:
        """As `stop` without any grace: the whole tree dies now, also one that stands still."""
        if agent.state not in ("up", "stopping"):
            agent.hurried, agent.due_mono = agent.state == "spawning", 0.0
            self.stop(agent, signal.SIGKILL, 0.0, cause)
            return
        agent.state, agent.expected, agent.after, agent.cause = "stopping", True, "down", cause
        self._kill_tree(agent, time.monotonic())
        self._note(agent)

    def forget(self, agent: Agent) -> bool:
        """False while it is not down."""
        if agent.state in LIVING:
            return False
        self.agents.pop(agent.name, None)
        self.output.outlive(agent)
        self.records.append({"t": "forget", "n": agent.name})
        return True

    # --- births --------------------------------------------------------------------------------------------
    def _spawn(self, agent: Agent, cause: str) -> None:
        if agent.next is not None:
            agent.definition, agent.next = agent.next, None
            self.records.append(agent.definition_record())
        group = agent.definition.cgroup_v2
        if group and not tree.is_empty_v2(group):
            agent.state, agent.after, agent.cause = "sweeping", "spawn", cause
            self._sweep(agent, time.monotonic())
            return
        agent.epoch += 1
        agent.state, agent.after, agent.cause, agent.expected = "spawning", "", cause, False
        agent.pid = agent.starttime = 0
        agent.due_mono, agent.hurried = 0.0, False
        self.births.append(agent.name)
        self._note(agent)

    def epoch_of(self, name: str) -> int:
        """Of the agent's last instance; 0 when there is no such agent."""
        agent = self.agents.get(name)
        return agent.epoch if agent is not None else 0

    def beat_of(self, name: str) -> float:
        """Seconds between two beats that are due of it; infinite when none is, 0 when it is not known."""
        agent = self.agents.get(name)
        usec = agent.definition.env.get("WATCHDOG_USEC") if agent is not None else "0"
        if usec is None:
            return float("inf")
        return int(usec) / 2e6 if usec.isascii() and usec.isdigit() else 0.0

    def born(self, message: dict[str, Any]) -> None:
        """The spawner's answer, or the newborn's own report that it could not exec."""
        agent = self.agents.get(message["agent"])
        self.in_flight.discard(message["agent"])
        if agent is None or agent.epoch != message["epoch"]:
            return
        if "failed" in message and agent.state in ("spawning", "up", "stopping"):
            self._stillborn(agent, message)
            return
        if agent.state != "spawning":
            return  # the newborn's own report came first
        process = procfs.read(message["pid"])
        self._up(agent, message["pid"], process.starttime if process else 0)
        early = self.early_exits.pop(message["pid"], None)
        if early is not None:
            self.exited(agent, status_from_wait(early))

    def _up(self, agent: Agent, pid: int, starttime: int) -> None:
        agent.state, agent.pid, agent.starttime = "up", pid, starttime
        agent.spawned_mono, agent.spawned_at = time.monotonic(), time.time()
        self.processes.by_pid[pid] = agent.name
        self._emit("spawned", agent, pid=pid, starttime=starttime, cause=agent.cause)
        self._note(agent)
        after, agent.after = agent.after, ""
        if after == "down" and agent.hurried:
            self.kill(agent, agent.cause)
        elif after == "down":
            self.stop(agent, _number(agent.definition.stop_signal), agent.definition.grace_s, agent.cause)

    def _stillborn(self, agent: Agent, message: dict[str, Any]) -> None:
        if message["stage"] == "busy":
            # A process of a former instance holds the lock though nothing led us to it: hunt it by the lock.
            agent.state, agent.after = "sweeping", agent.after or "spawn"
            holders = [pid for pid in procfs.pids() if procfs.holds_open(pid, {agent.definition.lock})]
            tree.signal_all([pid for pid in holders if pid != os.getpid()], signal.SIGKILL)
            agent.strays += len(holders)
            self._arm(agent, time.monotonic() + SWEEP_MAX_S)
            self._note(agent)
            return
        agent.failure = f"{message['stage']}: {message['reason']}"
        short = message["stage"] == "fork" and message["failed"] in (errno.EAGAIN, errno.ENOMEM)
        agent.rounds = agent.rounds + 1 if short else 0
        if short and agent.rounds < SPAWN_RETRIES_UNTOLD and agent.after != "down":
            self._wait(agent, time.monotonic() + SPAWN_RETRY_S)
            return
        self._emit("spawn_failed", agent, **{key: message[key] for key in ("failed", "stage", "reason")})
        if message.get("pid"):
            self.processes.by_pid[message["pid"]] = agent.name  # its exit ends the story
            agent.state, agent.pid, agent.expected = "up", message["pid"], True
            agent.after = "ask" if agent.after != "down" else "down"
            early = self.early_exits.pop(message["pid"], None)
            if early is not None:
                self.exited(agent, status_from_wait(early))
        elif agent.after == "down":
            self._down(agent, "stopped")
        else:
            self._ask(agent, agent.failure)
        self._note(agent)

    # --- deaths --------------------------------------------------------------------------------------------
    def reaped(self, pid: int, wait_status: int) -> None:
        """A child of ours ended."""
        name = self.processes.by_pid.get(pid)
        if name is None:
            if self.in_flight:
                self.early_exits[pid] = wait_status
            else:
                self.early_exits.clear()  # a stray; its number may be given again
            return
        self.exited(self.agents[name], status_from_wait(wait_status))

    def exited(self, agent: Agent, status: Status) -> None:
        """The main process is gone; the rest of the tree follows before anything else happens."""
        if self.processes.by_pid.get(agent.pid) == agent.name:
            del self.processes.by_pid[agent.pid]
        self.codes.awaited.pop(agent.name, None)
        if agent.pidfd >= 0:
            self.forget_pidfd(agent.pidfd)
            agent.pidfd = -1
        now = time.monotonic()
        agent.code = status.get("code")
        if agent.after != "ask":
            lived_s = round(max(0.0, now - agent.spawned_mono), 3)
            self._emit("exited", agent, pid=agent.pid, status=status, expected=agent.expected, lived_s=lived_s)
        agent.strays = agent.rounds = 0
        agent.state = "sweeping"
        self._sweep(agent, now)

    def _sweep(self, agent: Agent, now: float) -> None:
        """Nothing of the instance may be left. Leftovers of a planned stop keep the rest of its grace."""
        group = agent.definition.cgroup_v2
        empty = tree.is_empty_v2(group) if group else not self.processes.members(agent)
        if empty:
            self._swept(agent, now)
            return
        in_grace = agent.expected and agent.due_mono > now and agent.after != "ask"
        if in_grace and agent.strays == 0:
            left = self.processes.members(agent)
            agent.strays = len(left)
            tree.signal_all(left, _number(agent.definition.stop_signal))
        elif not in_grace:
            agent.strays = max(agent.strays, self.processes.kill(agent))
        # Looked at again soon: the deadline of the grace stays in due_mono, the next look only in the timers.
        pause = SWEEP_GRACE_S if in_grace else min(SWEEP_MAX_S, SWEEP_FIRST_S * 2**agent.rounds)
        agent.rounds += 1
        self.look_at(agent.name, now + pause)
        self._note(agent)

    def settle(self) -> None:
        """The end of a turn: what was looked up in it is no longer true."""
        self.processes.look_anew()
        super().settle()

    def _swept(self, agent: Agent, now: float) -> None:
        if agent.strays:
            self._emit("swept", agent, left=agent.strays)
        after, agent.after, agent.strays, agent.due_mono = agent.after, "", 0, 0.0
        agent.pid = agent.starttime = 0
        if after == "down":
            self._down(agent, "stopped")
        elif after == "spawn":
            self._spawn(agent, agent.cause)
        elif after == "ask":
            self._ask(agent, agent.failure)
        elif agent.name.startswith("@") and not agent.definition.once:
            self._wait(agent, now + self._service_delay(agent, now))
        else:
            guarded = stat_guarded(list(agent.permit.guarded))
            state, due, why = judge_restart(agent.permit, agent.code, agent.definition.once, now, guarded)
            if state == "finished":
                agent.state = "finished"
                self.tell_finished(agent)
            elif state == "asking":
                self._ask(agent, why)
            else:
                agent.permit.delays_s = agent.permit.delays_s[1:]
                agent.cause = "permit"
                if due <= now:
                    self._spawn(agent, "permit")
                else:
                    self._emit("waiting", agent, delay_s=round(due - now, 3))
                    self._wait(agent, due)
        self._note(agent)

    def _service_delay(self, agent: Agent, now: float) -> float:
        """Our own processes come back at once, more slowly when they die young; never given up."""
        if now - agent.spawned_mono > SERVICE_QUICK_S:
            agent.permit.not_before_mono = 0.0
            return 0.0
        agent.permit.not_before_mono = min(SERVICE_DELAY_MAX_S, max(0.1, agent.permit.not_before_mono * 2))
        return agent.permit.not_before_mono

    def _wait(self, agent: Agent, due: float) -> None:
        agent.state = "waiting"
        self._arm(agent, due)
        self._note(agent)

    def _ask(self, agent: Agent, why: str) -> None:
        if agent.name.startswith("@"):  # nobody could answer: our own processes are tried for ever
            print(f"holdfast-init: {agent.name[1:]}: {why}", flush=True)
            self._wait(agent, time.monotonic() + SERVICE_DELAY_MAX_S)
            return
        agent.state = "asking"
        self._emit("down", agent, reason="asking", why=why)
        self._note(agent)

    def tell_finished(self, agent: Agent) -> None:
        """Its job is done; told again to a keeper that would restart it."""
        self._emit("down", agent, reason="finished")

    def _down(self, agent: Agent, reason: str) -> None:
        agent.state, agent.due_mono, agent.after = "down", 0.0, ""
        self._emit("down", agent, reason=reason)
        self._note(agent)

    # --- time ----------------------------------------------------------------------------------------------
    def next_due(self) -> float | None:
        return self.timers[0][0] if self.timers else None

    def on_time(self, now: float) -> None:
        due: dict[str, None] = {}
        self.processes.look_anew()
        while self.timers and self.timers[0][0] <= now:
            due[heapq.heappop(self.timers)[1]] = None
        for name in due:
            agent = self.agents.get(name)
            if agent is None:
                continue
            if name in self.codes.awaited:
                self.codes.look(agent, now)
            elif agent.state == "sweeping":
                self._sweep(agent, now)
            elif agent.state == "stopping" and agent.due_mono <= now:
                self._kill_tree(agent, now)
            elif agent.state == "waiting" and agent.due_mono <= now:
                self._spawn(agent, agent.cause or "permit")

    def _kill_tree(self, agent: Agent, now: float) -> None:
        self.processes.kill(agent)
        signal_main(agent, signal.SIGKILL)
        self._arm(agent, now + SWEEP_MAX_S)

    def _arm(self, agent: Agent, due: float) -> None:
        agent.due_mono = due
        self.look_at(agent.name, due)

    def look_at(self, name: str, due: float) -> None:
        """Have `on_time` look at an agent then; earlier looks stay."""
        heapq.heappush(self.timers, (due, name))


def _number(name: str) -> int:
    return int(getattr(signal, f"SIG{name}"))
