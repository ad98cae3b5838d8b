"""One agent as init sees it: a small state machine and what must be written down of it. No system calls here.

state      meaning                                             leaves by
down       no process, none wanted                             start
spawning   the spawner was asked                               its answer: up, or sweeping when the birth failed
up         the main process lives                              its exit: sweeping; stop: stopping
stopping   asked to end; killed at `due_mono`                  its exit: sweeping
sweeping   main is gone, the rest is being killed              empty: down, spawning, waiting or asking
waiting    will be spawned by permit at `due_mono`             time: spawning
asking     no valid permit; the keeper must say                start, stop
finished   a `once` agent ended with 0                         start
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from holdfast.init.protocol import AgentDef, Permit

STATES = ("down", "spawning", "up", "stopping", "sweeping", "waiting", "asking", "finished")
LIVING = ("spawning", "up", "stopping", "sweeping")  # states in which processes of the instance may exist


@dataclass(slots=True)
class Agent:
    name: str
    definition: AgentDef
    permit: Permit = field(default_factory=Permit)
    state: str = "down"
    epoch: int = 0
    pid: int = 0
    starttime: int = 0
    spawned_mono: float = 0.0
    spawned_at: float = 0.0
    due_mono: float = 0.0  # 0: nothing is due
    after: str = ""  # what follows the sweep: "spawn", "down", or "" = decide by permit
    cause: str = ""  # why it was started or stopped
    expected: bool = False  # the exit to come was asked for
    code: int | None = None  # of the last exit, when it was one
    next: AgentDef | None = None  # a definition that waits for the next spawn
    pidfd: int = -1  # only for adopted processes, which are not our children
    fifo_fd: int = -1  # keeps what was printed last while neither the agent nor a logger lives
    strays: int = 0  # leftovers seen in the present sweep
    failure: str = ""  # why the last birth failed: stage and reason
    rounds: int = 0  # looks taken in the present sweep
    hurried: bool = False  # it is to be killed as soon as it is born
    paused_mono: float = 0.0  # until when somebody may have paused it (see pausing.py); 0: nobody has
    abandoned: bool = False  # whoever paused it is gone

    def record(self) -> dict[str, Any]:
        """What changes often."""
        record = {
            "t": "agent",
            "n": self.name,
            "s": self.state,
            "e": self.epoch,
            "p": self.pid,
            "st": self.starttime,
            "m": self.spawned_mono,
            "w": self.spawned_at,
            "d": self.due_mono,
            "a": self.after,
            "c": self.cause,
            "x": self.expected,
            "l": self.permit.delays_s,
            "nb": self.permit.not_before_mono,
        }
        return record | {"pz": self.paused_mono} if self.paused_mono else record

    def definition_record(self) -> dict[str, Any]:
        """What changes seldom: the definition in use and the one that waits for the next spawn."""
        return {
            "t": "def",
            "n": self.name,
            "def": self.definition.written(),
            "permit": asdict(self.permit),
            "next": self.next.written() if self.next is not None else None,
            "more": [self.definition.more(), self.next.more() if self.next is not None else {}],
        }

    def restore(self, record: dict[str, Any]) -> None:
        self.state, self.epoch = record["s"], record["e"]
        self.pid, self.starttime = record["p"], record["st"]
        self.spawned_mono, self.spawned_at, self.due_mono = record["m"], record["w"], record["d"]
        self.after, self.cause, self.expected = record["a"], record["c"], record["x"]
        self.permit.delays_s, self.permit.not_before_mono = record["l"], record["nb"]
        self.paused_mono = record.get("pz", 0.0)

    def is_done(self) -> bool:
        """Its job runs once, and ended well by itself."""
        return self.definition.once and self.code == 0 and not self.expected

    def status(self) -> dict[str, Any]:
        """As told to the keeper in the answer to hello."""
        return {
            "state": self.state,
            "epoch": self.epoch,
            "pid": self.pid,
            "starttime": self.starttime,
            "spawned_mono": self.spawned_mono,
            "spawned_at": self.spawned_at,
            "due_mono": self.due_mono,
            "cause": self.cause,
            "permit_left": self.permit.delays_s,
        }


def judge_restart(
    permit: Permit, code: int | None, once: bool, now_mono: float, guarded_now: dict[str, list[int] | None]
) -> tuple[str, float, str]:
    """What init may do with an agent that died by itself, and until when it waits: pure.

    Returns ("finished", 0, why) | ("asking", 0, why) | ("waiting", due_mono, why).
    """
    if once and code == 0:
        return "finished", 0.0, "ended with 0"
    if code is not None and code in permit.ask_codes:
        return "asking", 0.0, f"exit code {code} is not restarted without asking"
    if not permit.delays_s:
        return "asking", 0.0, "no restart is permitted any more"
    for path, stat in permit.guarded.items():
        if guarded_now.get(path) != stat:
            return "asking", 0.0, f"{path} changed"
    return "waiting", max(now_mono + permit.delays_s[0], permit.not_before_mono), "permit"
