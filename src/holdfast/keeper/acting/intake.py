"""Takes in what init says: the whole state at hello, then events, each once.

Invariant: an event is in the ledger before it is acknowledged, and one told twice changes nothing (its number is
remembered with it). After a reconnect, what init holds is compared with what is desired only when the events
missed meanwhile have been heard. Called by the link; calls the healer.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from holdfast import limits
from holdfast.healing.model import ASIDE_PHASES, Adopted, Down, Exited, Phase, Spawned, SpawnFailed, Swept
from holdfast.health.model import HealthValue
from holdfast.keeper.acting import fold
from holdfast.keeper.acting.hands import InitHands
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.acting.link import InitLink
from holdfast.keeper.acting.places import NodePlaces
from holdfast.keeper.agent import Agent, World
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.telling.views import Death, ProcessRow
from holdfast.keeper.telling.words import span
from holdfast.keeper.watching.beats import BeatsLoop
from holdfast.keeper.watching.health import HealthLoop
from holdfast.sizes import counted

OWN = ("guard", "init", "keeper", "logger")


class Intake:
    """`adopted()` is called when the comparison after a hello is done."""

    def __init__(
        self,
        agents: dict[str, Agent],
        recorder: Recorder,
        healer: Healer,
        hands: InitHands,
        health: HealthLoop,
        beats: BeatsLoop,
        places: NodePlaces,
        *,
        adopted: Callable[[], None],
        gone: Callable[[Agent], None],
        changed: Callable[[Agent], None],
        died: Callable[[Agent], None],
        moved_in: Callable[[Agent], None],
    ) -> None:
        self._agents = agents
        self._recorder = recorder
        self._healer = healer
        self._hands = hands
        self._health = health
        self._beats = beats
        self._places = places
        self._adopted = adopted
        self._gone = gone
        self._changed = changed
        self._died = died
        self._moved_in = moved_in
        self.link: InitLink | None = None
        self.dies: Callable[[Agent], None] = lambda agent: None  # its end by itself, and badly, is about to be told
        self.init_seq = 0  # of the last event taken in
        self.unacked = False
        self.forget_past = False  # set when this boot is not the one that was remembered
        self.is_adopted = False
        self.first = asyncio.Event()  # the world was compared once
        self.mode = "run"
        self.journal_failed = ""
        self.processes = {name: ProcessRow(name=name, pid=None, restarts=0) for name in OWN}
        self._connected_mono = 0.0
        self._notify_socket: int | None = None
        self._strangers: dict[str, str] = {}

    # --- hello ---------------------------------------------------------------------------------------------------
    def hello(self, state: dict[str, Any]) -> None:
        """The whole state. Asks for what is missing, then waits for the events behind it."""
        assert self.link is not None
        loop = asyncio.get_running_loop()
        self._connected_mono = loop.time()
        self.mode = str(state.get("mode", "run"))
        self._notify_socket = state.get("notify_socket")
        self.journal_failed = str(state.get("journal_failed") or "")
        for name, told in {**state.get("services", {}), "init": state["init"], "guard": state["guard"]}.items():
            if name in self.processes:
                pid, restarts = told.get("pid") or None, int(told.get("restarts", 0))
                self.processes[name] = ProcessRow(name=name, pid=pid, restarts=restarts)
        if int(state.get("seq", 0)) < self.init_seq:
            self.init_seq = int(state.get("acked", 0))  # init lost its memory and counts anew
        if self.forget_past:
            # After a reboot all is begun anew; what was told of the former boot is history and no news.
            self.init_seq = max(self.init_seq, int(state.get("seq", 0)))
            self.forget_past = False
        known: dict[str, Any] = state.get("agents", {})
        self._strangers = {name: str(told.get("state")) for name, told in known.items() if name not in self._agents}
        for name, agent in self._agents.items():
            told = known.get(name)
            agent.world = World() if told is None else fold.world_of(told)
            agent.permit_held = None  # said again: what init really holds of it depends on its fence
            if told is None:
                agent.memory.defined = ""
                if agent.ladder.phase not in (Phase.QUEUED, Phase.STOPPED, Phase.FINISHED, *ASIDE_PHASES):
                    self._hands.define(agent)
        self.link.request("beat").add_done_callback(self._caught_up)

    def _caught_up(self, answer: asyncio.Future[dict[str, Any]]) -> None:
        """Everything init had to say before our beat was heard: compare."""
        if answer.cancelled() or answer.exception() is not None:
            return
        now = asyncio.get_running_loop().time()
        self._beats.back(self._notify_socket, now)
        for agent in list(self._agents.values()):
            self._compare(agent, now)
            self._healer.arm(agent)
            self._health.follow(agent, now)
            if agent.world.state != "unknown" and not agent.memory.defined and agent.world.state != "finished":
                self._hands.define(agent)
            self._hands.renew_permit(agent)
        for name, state in self._strangers.items():
            self._hands.stop_stranger(name, state)
        self._strangers = {}
        self.is_adopted = True
        self.first.set()
        self._adopted()

    def _compare(self, agent: Agent, now: float) -> None:
        """One agent's ladder with the world."""
        state, epoch = agent.world.state, agent.world.epoch
        if state == "finished":
            self._healer.observe(agent, Down(reason="finished", instance=epoch), now)
        elif state == "unknown" and agent.ladder.phase is Phase.STOPPING:
            self._healer.observe(agent, Down(reason="stopped"), now)
        elif state != "spawning":
            self._healer.observe(agent, Adopted(instance=epoch, running=state in ("up", "stopping")), now)

    def not_there(self, agent: Agent) -> None:
        """There is nothing to stop: init does not know the agent."""
        self._healer.observe(agent, Down(reason="stopped"), asyncio.get_running_loop().time())
        if agent.leaving:
            self._gone(agent)

    def could_not_start(self, agent: Agent, reason: str) -> None:
        """What a start needs could not be prepared: for the ladder, a spawn that failed."""
        now = asyncio.get_running_loop().time()
        agent.fault_mono = agent.fault_mono or now
        text = f"could not be started: {reason}"
        self._healer.observe(agent, SpawnFailed(reason=reason), now, record="agent.spawn_failed", text=text)

    def lost(self) -> None:
        self.is_adopted = False
        self._beats.lost()

    # --- events --------------------------------------------------------------------------------------------------
    def events(self, batch: list[dict[str, Any]]) -> None:
        """In the order init wrote them."""
        now = asyncio.get_running_loop().time()  # once: reading a clock may cost more than a beat
        for event in batch:
            try:
                if event["ev"] == "notify":
                    self._beats.told(event, now)
                else:
                    self._event(event)
            except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
                self._recorder.record("init.unclear", "", f"init said what cannot be understood: {error!r}")
        self.acknowledge()

    def acknowledge(self) -> None:
        """Tell init what is safe with us: not what only our memory holds."""
        if not self._recorder.take_stored():
            self.unacked = True
        if not self.unacked and self.link is not None:
            self.link.send("ack", seq=self.init_seq)

    def _event(self, event: dict[str, Any]) -> None:
        name = str(event.get("agent", ""))
        seq = int(event.get("seq", 0))
        if seq <= self.init_seq:
            return
        self.init_seq = seq
        if event["ev"] == "service":
            self._service(event, seq)
            return
        if event["ev"] == "freed":
            self._freed(event, seq)
            return
        agent = self._agents.get(name)
        if agent is None:
            self._stranger(name, event)
            return
        self._agent_event(agent, event, seq)

    def _agent_event(self, agent: Agent, event: dict[str, Any], seq: int) -> None:
        now = min(asyncio.get_running_loop().time(), float(event.get("mono") or 0.0) or float("inf"))
        fold.apply(agent.world, event)
        seen = fold.observation(event)
        if seen is None:
            return
        agent.caught_live = now >= self._connected_mono
        body: dict[str, Any] = {"init_seq": seq, "instance": int(event.get("epoch", 0))}
        text = ""
        if isinstance(seen, Exited):
            if not seen.expected and not agent.ladder.planned_stop and seen.code != 0:
                self.dies(agent)
            text = self._death(agent, event, seen, now, body)
            seen = replace(seen, memory=agent.last_exit is not None and agent.last_exit[2])
            agent.permit_held = None  # init consumes it or, by its fence, drops one that was under way
        elif isinstance(seen, Spawned):
            body["pid"] = event.get("pid")
            text = f"instance {seen.instance} started as process {event.get('pid')} ({event.get('cause')})"
            agent.endpoint, agent.detail = HealthValue.UNKNOWN, ""
            agent.oom_kills = self._places.oom_kills(agent) or 0
        elif isinstance(seen, SpawnFailed):
            text = f"could not be started: {seen.reason}"
            agent.fault_mono = agent.fault_mono or now
        elif isinstance(seen, Swept):
            text = f"{counted(seen.left, 'process', 'processes')} left behind by it: killed"
        else:
            text = f"is down: {event.get('why') or event.get('reason')}"
        self._healer.observe(agent, seen, now, record=f"agent.{event['ev']}", text=text, body=body)
        if isinstance(seen, Exited) and not seen.expected and not agent.ladder.planned_stop:
            self._died(agent)
        if isinstance(seen, Spawned) and agent.memory.pod > max(1, agent.tidied):
            agent.tidied = agent.memory.pod
            self._moved_in(agent)
        self._health.follow(agent, now)
        if agent.leaving and event["ev"] == "down":
            self._gone(agent)

    def _death(self, agent: Agent, event: dict[str, Any], seen: Exited, now: float, body: dict[str, Any]) -> str:
        """Remember how it ended; a planned stop is no death."""
        kills = self._places.oom_kills(agent) if seen.signal == 9 and not seen.expected else None
        oom = kills is not None and kills > agent.oom_kills
        agent.last_exit = None if seen.expected else (seen.code, seen.signal, oom)
        words = _ended_by_us(seen) if seen.expected else self._places.exit_words(agent)
        lived = span(seen.lived_s)
        body |= {key: value for key, value in (("code", seen.code), ("signal", seen.signal)) if value is not None}
        if agent.ladder.planned_stop:
            return f"ended as asked after {lived}"
        if not seen.expected:
            agent.fault_mono = now
        cause = agent.ladder.cause if seen.expected and agent.ladder.incident else ""
        death = Death(
            at=float(event.get("at", 0.0)), instance=seen.instance, exit=words, cause=cause, lived_s=seen.lived_s
        )
        agent.memory.deaths = (*agent.memory.deaths, death)[-limits.DEATHS_KEPT :]
        body["death"] = msgspec.to_builtins(death)
        return f"died after {lived}: {words}"

    def _stranger(self, name: str, event: dict[str, Any]) -> None:
        if event["ev"] in ("down", "spawned", "waiting"):
            state = {"down": "down", "spawned": "up", "waiting": "waiting"}[event["ev"]]
            self._hands.stop_stranger(name, state)

    def _freed(self, event: dict[str, Any], seq: int) -> None:
        """init let agents go that somebody had paused or held, since nobody steered any more."""
        names, ceilings = [str(name) for name in event.get("names", ())], event.get("ceilings") or ()
        told = {"keeper": "while no keeper answered", "leave": "when all of Holdfast ended"}
        why = told.get(str(event.get("why")), "since their time was over")
        raised = event.get("raised") or ()
        did = f"let {', '.join(names)} go on" if names else f"{'lifted' if ceilings else 'raised'} ceilings of memory"
        words = f"init {did}, {why}"
        body = {"init_seq": seq, "names": names[: limits.NAMES_SHOWN], "ceilings": len(ceilings), "raised": len(raised)}
        self._recorder.record("density.freed", "", words, body)

    def _service(self, event: dict[str, Any], seq: int) -> None:
        name, what = str(event.get("name", "")), str(event.get("what", ""))
        row = self.processes.get(name)
        pid = event.get("pid")
        if row is not None:
            row.pid = pid if what == "spawned" else None
            row.restarts = int(event.get("restarts", row.restarts))
        body = {"init_seq": seq, "name": name, "pid": pid}
        words = f"{name} started as process {pid}"
        if what != "spawned":
            words = f"{name} (process {pid}) ended: {_status_words(event.get('status') or {})}"
        self._recorder.record(f"service.{what}", "", words, body)


def _status_words(status: dict[str, Any]) -> str:
    if "signal" in status:
        return fold.signal_words(int(status["signal"]))
    return f"exit {status['code']}" if "code" in status else "how is unknown"


def _ended_by_us(seen: Exited) -> str:
    """How it took the stop that healing asked for."""
    if seen.signal == signal.SIGKILL:
        return "killed by Holdfast after its grace"
    how = f"exit {seen.code}" if seen.code is not None else fold.signal_words(seen.signal) if seen.signal else "unknown"
    return f"stopped by Holdfast ({how})"
