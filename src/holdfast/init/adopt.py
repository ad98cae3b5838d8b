"""Taking over what runs: after init died, after all of Holdfast died, after the journal was lost.

An instance lives while its pid with its start time does, in this boot. A birth that was asked for but never
confirmed is looked for by its cgroup and its instance id, after the former spawner and all its newborns are
certainly past exec or dead (they hold spawner.lock until then).
"""

from __future__ import annotations

import os
import signal

from holdfast.init import procfs, tree
from holdfast.init.agent import Agent
from holdfast.init.journal import Record
from holdfast.init.protocol import AgentDef, Permit
from holdfast.init.supervise import Supervisor


def remember(supervisor: Supervisor, records: list[Record]) -> bool:
    """Replay the journal into memory. True when it was written in this boot of the machine."""
    same_boot = not records
    for record in records:
        kind = record["t"]
        if kind == "def":
            more, next_more = record.get("more", ({}, {}))
            definition, permit = AgentDef(**record["def"], **more), Permit(**record["permit"])
            agent = supervisor.agents.setdefault(record["n"], Agent(record["n"], definition, permit))
            agent.definition, agent.permit = definition, permit
            agent.next = AgentDef(**record["next"], **next_more) if record["next"] is not None else None
        elif kind == "agent" and record["n"] in supervisor.agents:
            supervisor.agents[record["n"]].restore(record)
        elif kind == "forget":
            supervisor.agents.pop(record["n"], None)
        elif kind == "event":
            supervisor.events.append(record["event"])
            supervisor.seq = max(supervisor.seq, record["event"]["seq"])
            if record["event"]["ev"] == "service":
                supervisor.service_restarts[record["event"]["name"]] = record["event"]["restarts"]
        elif kind == "ack":
            while supervisor.events and supervisor.events[0]["seq"] <= record["seq"]:
                supervisor.events.popleft()
            supervisor.acked = record["seq"]
            supervisor.seq = max(supervisor.seq, record["seq"])
        elif kind == "seq":
            supervisor.seq = max(supervisor.seq, record["seq"])
        elif kind == "services":
            supervisor.service_restarts = dict(record["restarts"])
        elif kind == "line":
            supervisor.lost_mono = record["lost"]
        elif kind == "mode":
            supervisor.mode = record["mode"]
        elif kind == "boot":
            same_boot = record["id"] == procfs.boot_id()
    return same_boot


def after_reboot(supervisor: Supervisor) -> None:
    """Nothing of the former boot lives. The keeper starts the fleet by priority; old permits are void."""
    supervisor.lost_mono = 0.0
    for agent in supervisor.agents.values():
        if agent.state not in ("finished", "asking"):
            agent.state = "down"
        agent.pid = agent.starttime = 0
        agent.due_mono, agent.after, agent.paused_mono = 0.0, "", 0.0
        agent.permit.delays_s, agent.permit.not_before_mono = [], 0.0


def take_over(supervisor: Supervisor) -> None:
    """Bring every remembered agent's state in line with the world. Births in flight wait for `resolve_births`."""
    me = os.getpid()
    if supervisor.agents and not supervisor.replaced:
        guard = procfs.read(os.getppid())
        supervisor.processes.foreign_parents |= {1, guard.ppid if guard is not None else 1}
    for agent in list(supervisor.agents.values()):
        supervisor.output.hold(agent)
        if agent.state in ("up", "stopping"):
            process = procfs.read(agent.pid)
            same = process is not None and process.starttime == agent.starttime
            if same and process is not None and process.ppid == me:
                supervisor.processes.by_pid[agent.pid] = agent.name  # our child (we re-executed): reaping will tell
            elif same and process is not None and process.state not in "ZX":
                adopt(supervisor, agent, agent.pid, agent.starttime)
            else:
                supervisor.codes.died_unseen(agent)
                supervisor.codes.told_before(agent)
        if agent.state in ("stopping", "waiting"):
            supervisor.look_at(agent.name, agent.due_mono)
        elif agent.state == "sweeping":
            supervisor.look_at(agent.name, 0.0)


def adopt(supervisor: Supervisor, agent: Agent, pid: int, starttime: int) -> None:
    """Watch a process that is not our child."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        pidfd = -1
    supervisor.processes.by_pid[pid] = agent.name
    if pidfd < 0 or not procfs.is_running(pid, starttime):
        if pidfd >= 0:
            os.close(pidfd)
        supervisor.codes.died_unseen(agent)
        return
    process = procfs.read(pid)
    if process is not None and process.ppid not in (os.getpid(), os.getppid()):
        supervisor.processes.foreign_parents.add(process.ppid)
    agent.pidfd = pidfd
    supervisor.watch_pidfd(pidfd, agent.name)


def resolve_births(supervisor: Supervisor) -> None:
    """Births asked of a spawner that is gone: adopt the instance if it came to be, else ask again."""
    unsure = [agent for agent in supervisor.agents.values() if agent.state == "spawning"]
    if not unsure:
        return
    supervisor.births.clear()
    world = instances(supervisor.processes.home_id)
    for agent in unsure:
        main = find_main(world.get((agent.name, agent.epoch), []))
        if main is not None:
            found_again(supervisor, agent, main)
        else:
            agent.epoch -= 1  # it never was
            agent.state = "down"
            if agent.after == "down":
                supervisor.stop(agent, signal.SIGTERM, 0.0, agent.cause)
            else:
                supervisor.start(agent, agent.cause)


def found_again(supervisor: Supervisor, agent: Agent, main: procfs.Process) -> None:
    supervisor._up(agent, main.pid, main.starttime)
    if main.ppid != os.getpid():
        adopt(supervisor, agent, main.pid, main.starttime)


def instances(home_id: str) -> dict[tuple[str, int], list[procfs.Process]]:
    """Every living process of this home by (agent, epoch), read from environments: slow, for rare use."""
    world: dict[tuple[str, int], list[procfs.Process]] = {}
    for process in procfs.table().values():
        if process.state in "ZX":
            continue
        home, _, rest = (procfs.instance_of(process.pid) or "").partition(":")
        agent, _, epoch = rest.rpartition(":")
        if home == home_id and epoch.isdigit():
            world.setdefault((agent, int(epoch)), []).append(process)
    return world


def find_main(processes: list[procfs.Process]) -> procfs.Process | None:
    """The session leader that was born first; a main process always leads its session."""
    leaders = [process for process in processes if process.session == process.pid]
    return min(leaders, key=lambda process: process.starttime, default=None)


def adopt_strangers(supervisor: Supervisor) -> None:
    """The journal is lost: when the keeper defines an agent, an instance that runs is taken over, not doubled."""
    world = instances(supervisor.processes.home_id)
    latest: dict[str, int] = {}
    for name, epoch in world:
        latest[name] = max(epoch, latest.get(name, 0))

    def look(agent: Agent) -> None:
        epoch = latest.pop(agent.name, None)
        if epoch is None:
            group = agent.definition.cgroup_v2
            if group and not tree.is_empty_v2(group):
                agent.state, agent.after = "sweeping", "down"
                supervisor.look_at(agent.name, 0.0)
            return
        agent.epoch = epoch
        main = find_main(world[(agent.name, epoch)])
        if main is None:
            agent.state, agent.after = "sweeping", "down"
            supervisor.look_at(agent.name, 0.0)
            return
        agent.cause = "adopted"
        found_again(supervisor, agent, main)

    supervisor.strangers = look
