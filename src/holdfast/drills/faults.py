"""Every fault a drill knows, in one table: what it does, on whom it may be tried, and what is promised about it.

Invariant: a bound stands here once, with the promise it comes from; the scorecard compares with nothing else. On an
agent of the user's the bounds follow from what that agent declares of itself. Pure. Called by run.py, score.py and the
command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

BEAT_S = 5.0  # of the throw-away agent: the default of 60 s would make a drill last minutes; the rule is the same
STRIKES_S = 3 * 2.0 + 0.5  # three probes, 2 s apart, the last one waited for: mission, promise 2
NOTICE_S = 1.5  # delivery of beats, one turn of the loop, a loaded machine
EVIDENCE_S = 1.5  # at most, before a hung agent is ended
FILE_LOOK_S = 15.0  # how late the age of a heartbeat file is seen at most

EVERY_S = 3.0  # a snapshot of the throw-away agent, and its way to the second place: the default is 60 s, as of beats
BEHIND_S = 2 * EVERY_S + 2.0  # one interval with its jitter, and the snapshot itself on a loaded machine

GROWS_S = 4.0  # until a spike has filled the drill's node, on a slow machine
ALONE_S = 8.0  # one that only its own need is in the way of goes after so long at its ceiling: it might yet be fed
BACK_S = 10.0  # then a shed agent is back, once there is room

Expect = Literal["healed", "untouched", "shown", "escalated", "kept", "shed", "queued"]


class Fault(Struct, frozen=True, kw_only=True):
    """`caught_s`, `restored_s`: promised at most, from the moment of injection; restored is on top of a normal start.

    `expect` healed: a new process, healthy; untouched: the very same process, Holdfast back; shown: told, never
    restarted; escalated: bounded tries, then a person is told, and healed when the cause is gone; kept: what was lost
    is had back by a command: caught is when it was shown as such, restored when the agent is well with its state;
    shed: it goes, whole, and comes back by itself, while the more important notice nothing; queued: all are started,
    some after others. `real`: may be tried on an agent of the user's. `state`: about what the agent keeps on disk.
    `memory`: about the node's memory, and tried on a small node of its own.
    """

    name: str
    summary: str
    expect: Expect
    caught_s: float
    restored_s: float
    promise: str
    real: bool = False
    needs_root: bool = False
    state: bool = False
    memory: bool = False


_ALL = (
    Fault(name="kill", summary="kill -9 of its main process", expect="healed", caught_s=0.5, restored_s=1.0,
          promise="exit seen at once, a new process in milliseconds", real=True),
    Fault(name="hang", summary="its process is stopped (SIGSTOP) and answers nothing", expect="healed",
          caught_s=STRIKES_S + NOTICE_S, restored_s=STRIKES_S + NOTICE_S + 8.0,
          promise="three strikes, 2 s apart; evidence; 5 s of grace at most", real=True),
    Fault(name="exit-loop", summary="it ends at every start, until the cause is gone", expect="escalated",
          caught_s=0.5, restored_s=30.0, promise="bounded restarts, recreated once, then a person is told"),
    Fault(name="spin", summary="its loop spins at full CPU; its health endpoint still answers", expect="healed",
          caught_s=2 * BEAT_S + NOTICE_S, restored_s=2 * BEAT_S + NOTICE_S + 8.0, promise="two missed beats"),
    Fault(name="stop-beats", summary="its loop is stuck in a function and beats no more", expect="healed",
          caught_s=2 * BEAT_S + NOTICE_S, restored_s=2 * BEAT_S + NOTICE_S + 8.0, promise="two missed beats"),
    Fault(name="fake-beats", summary="a thread goes on beating while the loop is stuck", expect="healed",
          caught_s=2 * BEAT_S + NOTICE_S, restored_s=2 * BEAT_S + NOTICE_S + 8.0,
          promise="a beat counts only if its cycle advanced"),
    Fault(name="slow-endpoint", summary="its endpoint answers after 3 s", expect="healed",
          caught_s=STRIKES_S + NOTICE_S, restored_s=STRIKES_S + NOTICE_S + 8.0, promise="three strikes"),
    Fault(name="http-200-but-dead", summary="its endpoint answers 200 with somebody's HTML page", expect="healed",
          caught_s=STRIKES_S + NOTICE_S, restored_s=STRIKES_S + NOTICE_S + 8.0,
          promise="200 is not health: the body must be the agent's own"),
    Fault(name="fork-leak", summary="it leaves twenty helpers in sessions of their own and dies", expect="healed",
          caught_s=0.5, restored_s=3.0, promise="death is the death of the tree: no helper is left"),
    Fault(name="log-flood", summary="it prints as fast as it can for 5 s", expect="untouched", caught_s=10.0,
          restored_s=15.0, promise="no line of another agent waits"),
    Fault(name="leak-slow", summary="its memory grows to 75 % of its limit", expect="shown", caught_s=20.0,
          restored_s=60.0, promise="told at 70 % of the limit, never restarted for it"),
    Fault(name="kill-keeper", summary="kill -9 of the keeper", expect="untouched", caught_s=1.0, restored_s=1.5,
          promise="no agent restarts; back in less than a second", real=True),
    Fault(name="kill-init", summary="kill -9 of init", expect="untouched", caught_s=1.0, restored_s=1.5,
          promise="no agent restarts; back in less than a second", real=True),
    Fault(name="kill-all", summary="kill -9 of guard, init, keeper and logger at once, then `holdfast up`",
          expect="untouched", caught_s=5.0, restored_s=5.0, promise="`up` adopts what runs", real=True),
    Fault(name="disk-full", summary="the disk is full to the last byte, then the agent is killed", expect="healed",
          caught_s=1.0, restored_s=3.0, needs_root=True, state=True,
          promise="a full disk never stops healing, and harms no snapshot that is there"),
    Fault(name="clock-jump", summary="the wall clock jumps a day ahead and back", expect="untouched", caught_s=20.0,
          restored_s=20.0, promise="clock jumps restart nothing and delete nothing"),
    Fault(name="corrupt-state", summary="its database and its JSON are overwritten with garbage, then it is killed",
          expect="healed", caught_s=0.5, restored_s=15.0, real=True, state=True,
          promise="found damaged at its start, and restored to its last known-good snapshot"),
    Fault(name="delete-state", summary="the directory with its state is gone", expect="healed", caught_s=2.0,
          restored_s=20.0, real=True, state=True,
          promise="restarted, recreated, then restored to its last known-good snapshot"),
    Fault(name="delete-agent", summary="it is removed, and then its files are deleted", expect="kept", caught_s=10.0,
          restored_s=15.0, state=True, promise="had back for 30 days, with its state of the moment it was removed"),
    Fault(name="lose-machine", summary="every process is killed and the home deleted; a second place is left",
          expect="kept", caught_s=10.0, restored_s=20.0, state=True,
          promise="rebuilt from the second place alone, one interval behind at most"),
    Fault(name="leak", summary="its memory grows steadily towards its limit", expect="healed", caught_s=40.0,
          restored_s=60.0, memory=True, promise="told at 70 % of the limit, restarted as planned before it"),
    Fault(name="spike", summary="an unimportant agent takes more memory than the node has, as fast as it can",
          expect="shed", caught_s=GROWS_S + ALONE_S + 2.0, restored_s=GROWS_S + ALONE_S + 2.0 + BACK_S, memory=True,
          promise="it goes, whole, before the kernel kills; no more important agent notices"),
    Fault(name="fork-memory", summary="an unimportant agent does so in many small processes", expect="shed",
          caught_s=GROWS_S + ALONE_S + 2.0, restored_s=GROWS_S + ALONE_S + 2.0 + BACK_S, memory=True,
          promise="the whole tree goes, however small each process; no more important agent notices"),
    Fault(name="start-storm", summary="six agents with heavy starts are started at once", expect="queued",
          caught_s=3.0, restored_s=60.0, memory=True,
          promise="one after another as memory allows, none late by its own measure"),
    Fault(name="neighbour", summary="other software takes the node's memory, and gives it back", expect="shed",
          caught_s=6.0, restored_s=BACK_S, needs_root=True, memory=True,
          promise="the least important makes room; back within 10 s of room"),
)  # fmt: skip
FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL}


def for_agent(fault: Fault, spec: Mapping[str, Any], wait_s: float, *, beats: bool) -> Fault | None:
    """The fault with the bounds that hold for this agent; None when nothing of it would show the fault.

    `spec`: the agent's, as the API gives it. `wait_s`: how long its next restart is made to wait for earlier failures:
    that much later it is promised back. `beats`: whether the running instance beats.
    """
    if fault.expect != "healed":
        return fault
    waiting = f"; waits {wait_s:.0f} s after its earlier failures" if wait_s else ""
    if fault.state:  # its restarts that do not help come first, each after its pause
        pauses = spec["restart"]["backoff_s"][: None if fault.name == "delete-state" else 2]
        return replace(fault, restored_s=fault.restored_s + wait_s + sum(pauses))
    if fault.name != "hang":
        return replace(fault, restored_s=fault.restored_s + wait_s, promise=fault.promise + waiting)
    health, grace_s = spec["health"], spec["stop"]["hung_grace_s"]
    ways: list[tuple[float, str]] = []
    if health["http"]:
        strikes_s = health["retries"] * health["interval_s"] + health["timeout_s"]
        ways.append((strikes_s, f"{health['retries']} strikes, {health['interval_s']:g} s apart"))
    if health["beat_s"] and beats:
        ways.append((2 * health["beat_s"], f"two missed beats of {health['beat_s']:g} s"))
    if health["file"]:
        age_s = health["file"]["max_age_s"]
        ways.append((age_s + FILE_LOOK_S, f"its heartbeat file is at most {age_s:g} s old"))
    if not ways:
        return None
    first_s, how = min(ways)
    caught_s = first_s + NOTICE_S
    restored_s = caught_s + max(wait_s, EVIDENCE_S + grace_s) + NOTICE_S
    promise = f"{how}; evidence; {grace_s:g} s of grace at most{waiting}"
    return replace(fault, caught_s=caught_s, restored_s=restored_s, promise=promise)
