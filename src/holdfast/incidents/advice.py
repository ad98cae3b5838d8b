"""What a person could do next, by the kind of cause. Pure; read by the post-mortem."""

from __future__ import annotations

from holdfast.incidents.model import Incident, Outcome

_BY_KIND = {
    "memory-limit": "Raise `limits.memory` if it needs more, or look for the leak in the memory curve above.",
    "memory-lease": "See who took the memory (`holdfast top`); raise its `priority`, or declare `memory: {min}`.",
    "kernel-oom": "Give the agents `limits.memory` that fit the machine together, or add memory.",
    "port-taken": "Stop the other process that holds the port, or give the agent another one.",
    "config": "Correct its configuration as the exit and the last lines say.",
    "disk-full": "Free space on the disk: `holdfast doctor` says how much is left.",
    "descriptors": "Raise `limits.nofile`, or look in the evidence for what it opened and never closed.",
    "missing": "Install or restore what is missing; compare with what changed since the last good run.",
    "auth": "Renew the credentials it uses; a restart will not help before that.",
    "stopped": "Find who sent it SIGSTOP (a debugger, a person, a script); Holdfast never does so to a healthy agent.",
    "disk-wait": "Look at the disk or network file system it waits for: `dmesg`, `holdfast doctor`.",
    "deadlock": "Correct the order in which the named functions take their locks.",
    "network-read": "Give the call a time-out, so that the agent itself notices a peer that went silent.",
    "busy-loop": "Look at the named function: its loop does not end, or takes longer than its deadline.",
    "provider": "Look at the status of the service it calls; a retry with growing pauses belongs into the agent.",
    "dependency": "Look at the agents it depends on first.",
    "hung": "Look at the named function: what does it wait for, and has that wait a time-out?",
    "not-started": "Correct what its start needs; `holdfast check` and `holdfast doctor` name what is missing.",
    "reported": "Ask what reported it, with the same words: it knows more than Holdfast, which only acted upon it.",
    "crash": "Update the program or its libraries; a core dump tells more where the system keeps them.",
    "own-error": "Correct the error that its last lines name.",
    "changed": "Take the change back and see whether it helps.",
}


_BY_NODE = {
    "starved": "Find what takes the machine: `top`, `cat /proc/pressure/cpu /proc/pressure/memory /proc/pressure/io`.",
    "disk": "Free space: `df -h`, `df -i`, `du -xh PATH | sort -h | tail`.",
    "network": "Look at the loopback interface: `ip link show lo`.",
    "together": "Look for what these agents share: a provider, a database, a name server, a change.",
}


def _of_machine(incident: Incident) -> list[str]:
    """For an incident of the node: the agents are not the place to look."""
    if incident.closed_at is not None:
        return ["Nothing has to be done now: its cause is gone."]
    cause = incident.node.partition(":")[0]
    found = [_BY_NODE[cause]] if cause in _BY_NODE else []
    return [*found, "Nobody is restarted for it; `holdfast restart NAME` works at any time."]


_WENT_BACK = (
    "Its state went back in time: what is missing since then is in the former state, which is kept for some days.",
    "Another moment than the one that was taken: `holdfast snapshots AGENT`, then `holdfast restore AGENT SNAPSHOT`.",
)


def steps(incident: Incident) -> list[str]:
    """One sentence each, the most useful first."""
    found = [_BY_KIND[incident.kind]] if incident.kind in _BY_KIND else []
    if incident.restored:
        found = [*(text.replace("AGENT", incident.agent) for text in _WENT_BACK), *found]
    if incident.node:
        return [*found, *_of_machine(incident)]
    if incident.outcome is Outcome.RECOVERED:
        return [*found, "Nothing has to be done now: the agent is healthy again."]
    return [
        *found,
        f"Look at it: `holdfast describe {incident.agent}` and `holdfast logs {incident.agent}`",
        f"Correct what the cause names, then `holdfast up` (a changed spec) or `holdfast restart {incident.agent}`",
    ]
