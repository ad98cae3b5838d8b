"""The words that keeper and init exchange, and the shapes they travel in.

Transport: a Unix stream socket (`RUN/init.sock`), one JSON object a line, UTF-8, at most MESSAGE_MAX_BYTES.
One keeper at a time: a new connection that says hello replaces the older one.

keeper -> init; each may carry "id": answered {"re": id, "ok": true, ...} or {"re": id, "ok": false, "error": text}:
  hello      {"op":"hello","protocol":1}                        -> answer carries the whole state, see `State` below
  define     {"op":"define","agent":NAME,"def":{...},"permit":{...}}   what to run; takes effect at the next spawn
  permit     {"op":"permit","agent":NAME,"permit":{...}}         replaces the permit
  start      {"op":"start","agent":NAME}                         spawn now unless it runs; no-op when it runs
  stop       {"op":"stop","agent":NAME,"signal":"TERM","grace_s":30.0,"cause":TEXT}   stop the tree and stay down
  restart    {"op":"restart","agent":NAME,"signal":..,"grace_s":..,"cause":TEXT}      stop the tree, sweep, spawn
             start, restart and permit may carry "instance": N, the epoch they were decided about, and permit
             "while_running": true; init leaves undone what is stale (see requests.py) and answers ok
  kill       {"op":"kill","agent":NAME,"instance":N,"cause":TEXT}   as stop without any grace: the whole tree dies now
             and stays down, frozen or not; about an earlier instance it is left undone; may be repeated
  pause      {"op":"pause","agent":NAME,"until_mono":MONO_S|null}   said BEFORE freezing it: init freezes nobody, but
             lets it go on 1 s after `until_mono` (null: while the keeper lives), and 4 s after the keeper's line was
             lost. Ceilings of memory (v1 limit_in_bytes and oom_kill_disable, v2 memory.high) are raised then as far
             as there is room, and lifted a minute later (see ceilings.py)
  resume     {"op":"resume","agent":NAME}                        said AFTER thawing it: nobody has it paused
  steer      {"op":"steer"}                                      once after each hello, when the keeper's first decision
             on memory is carried out: what a former keeper paused or held is its own to free now
  forget     {"op":"forget","agent":NAME}                        stop tracking an agent that is down
  ack        {"op":"ack","seq":N}                                events up to N are safe with the keeper
  beat       {"op":"beat"}                                       answered; a silent keeper is replaced
  shutdown   {"op":"shutdown","keep_agents":false}               stop all agents, then Holdfast itself
  code       {"op":"code"}                                       which code init runs, since when, and its services
  reexec     {"op":"reexec"}                                     run the new code as a child first, then become it

init -> keeper, durable events, in order, each once more after a reconnect until acked:
  {"seq":N,"ev":KIND,"agent":NAME,"epoch":E,"at":WALL_S,"mono":MONO_S, ...}
  spawned       pid, starttime (field 22 of /proc/PID/stat), cause: "start"|"permit"|"restart"|"adopted"
  exited        pid, status: {"code":N} | {"signal":N} | {} when unknown; expected: bool (we were stopping it);
                pid lived `lived_s`
  swept         left: number of leftovers that had to be killed; the tree is gone
  down          the agent is down and will not be spawned by init: reason "stopped"|"finished"|"asking"
                (asking = no valid permit; why: text. The keeper must say start or leave it)
  waiting       init will restart by its permit in delay_s
  spawn_failed  errno, reason
  service       name "keeper"|"logger", pid, restarts, what: "spawned"|"exited"
  freed         no agent; names: who was let go on, raised: whose ceiling was raised, ceilings: whose ceiling was
                lifted, why: "keeper" (its line was lost) | "time" (`until_mono` was over) | "leave" (all of Holdfast
                ends, the agents go on)
not durable:
  {"ev":"notify","agent":NAME,"epoch":E,"mono":MONO_S,"fields":{"READY":"1",...}}    beats, gathered for 0.25 s
                or, when nothing in them is waited for, up to 4 s (a fifteenth of what is between two that are due)
                mono: of the last one; busy_mono: of the last X_BUSY_USEC; cycle_mono: of the last X_CYCLE that was
                another one, when gathered with later ones; cycles: all different X_CYCLEs in their
                order, when there were several; held: true after hello: what the instance said so far, no news
  {"ev":"beat"}

`def` of an agent (AgentDef): see the dataclass. `permit` (Permit): what init may do without asking.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

PROTOCOL = 1
MESSAGE_MAX_BYTES = 16 * 1024 * 1024  # hello's answer with thousands of agents
INSTANCE_ENV = "HOLDFAST_INSTANCE"  # HOMEID:AGENT:EPOCH in every instance's environment


@dataclass(slots=True)
class AgentDef:
    """All that is needed to spawn an agent without any file on disk but its own program."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    fifo: str  # named FIFO for fd 1 and 2
    lock: str  # file whose flock every process of the instance inherits
    uid: int | None = None  # None: same user as init
    gid: int | None = None
    groups: list[int] = field(default_factory=list)
    umask: int = 0o022
    nofile: int | None = None
    data_bytes: int | None = None  # RLIMIT_DATA, where no cgroup can hold the memory limit
    cgroup_v2: str | None = None  # absolute directory; the instance is born inside
    cgroup_v1: list[str] = field(default_factory=list)  # absolute directories joined before exec
    cgroup_v1_late: list[str] = field(default_factory=list)  # joined soon after the birth, by all that cgroup_v2 holds
    oom_score_adj: int | None = None
    stop_signal: str = "TERM"
    grace_s: float = 30.0
    notify: bool = True
    once: bool = False  # exit 0 means finished
    memory_bytes: int | None = None  # declared limit that a v1 memory cgroup holds; where a lifted ceiling goes back to

    def v1_groups(self) -> list[str]:
        return [*self.cgroup_v1, *self.cgroup_v1_late]

    def heed(self, newer: AgentDef) -> bool:
        """Take over what holds for the running instance too, when the next has the same place. True: it has to be
        brought into other cgroups."""
        if self.cgroup_v2 != newer.cgroup_v2 if self.cgroup_v2 else self.cgroup_v1[:1] != newer.cgroup_v1[:1]:
            return False
        self.memory_bytes = newer.memory_bytes
        late = [each for each in newer.v1_groups() if each not in self.cgroup_v1] if self.cgroup_v2 else []
        joins = bool(set(late) - set(self.cgroup_v1_late))
        self.cgroup_v1_late = late
        return joins

    def written(self) -> dict[str, Any]:
        """For the journal, without what an older init would not know: it must be able to go on with a newer journal."""
        return {name: value for name, value in asdict(self).items() if name not in _NEWER}

    def more(self) -> dict[str, Any]:
        """The rest, as far as it says anything."""
        return {name: value for name in _NEWER if (value := getattr(self, name))}


_NEWER = ("memory_bytes", "cgroup_v1_late")


@dataclass(slots=True)
class Permit:
    """What init may restart without asking.

    `delays_s[0]` is the delay before the next restart and is consumed by it; an empty list means ask.
    `not_before_mono`: never spawn earlier (spacing). `ask_codes`: exit codes that always ask.
    `guarded`: {path: [mtime_ns, size, inode] or null when absent}; a difference takes the permit away.
    """

    delays_s: list[float] = field(default_factory=list)
    not_before_mono: float = 0.0
    ask_codes: list[int] = field(default_factory=list)
    guarded: dict[str, list[int] | None] = field(default_factory=dict)


State = dict[str, Any]
"""Answer to hello:
{"boot_id","home_id","init":{"pid","restarts"},"guard":{"pid","restarts"},
 "services":{"keeper":{"pid","restarts"},"logger":{...}},
 "agents":{NAME:{"state":"down|spawning|up|stopping|sweeping|waiting|asking|finished","epoch","pid","starttime",
                  "spawned_mono","spawned_at","due_mono","cause","permit_left"}},
 "seq": last event number, "acked": N, "notify_socket": names the socket; another one makes former senders deaf}
"""
