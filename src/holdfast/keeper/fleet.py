"""The desired fleet: is it acceptable, what would change, where is it kept. Pure except for reading and writing
HOME/fleet.json.

Invariant: a fleet is taken whole or not at all, and is on disk before anything acts on it. Called by the keeper.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec
from msgspec.structs import replace

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.files import write_atomic
from holdfast.healing.model import Policy
from holdfast.health import confirm
from holdfast.health.gate import has_gate
from holdfast.keeper.telling.views import FleetChange
from holdfast.spec.depends import circle
from holdfast.spec.masking import MASK, mask_url
from holdfast.spec.model import AgentSpec, FleetSpec, Node

FILE = "fleet.json"  # in the home; the last fleet that was accepted
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
# What may change without a new process: everything else is part of how the process is started.
_LIVE_FIELDS = (
    "priority", "labels", "once", "health", "stop", "restart", "exit_codes", "ask_codes", "guarded_files",
    "depends_on", "maintenance", "logs", "resources", "state", "memory", "idle", "scaling",
)  # fmt: skip


def check(fleet: FleetSpec) -> None:
    """Refuse what could not have come from a checked file. Raises HoldfastError API_REFUSED."""
    if len(fleet.agents) > limits.AGENTS_MAX:
        raise _refused(f"{len(fleet.agents)} agents are more than {limits.AGENTS_MAX}")
    seen: set[str] = set()
    for agent in fleet.agents:
        if not _NAME.fullmatch(agent.name) or len(agent.name) > limits.AGENT_NAME_MAX:
            raise _refused(f"{agent.name[:80]!r} is no name for an agent: lower-case letters, digits and hyphens")
        if agent.name in seen:
            raise _refused(f"two agents are named {agent.name}")
        seen.add(agent.name)
        if not agent.command or not agent.command[0]:
            raise _refused(f"{agent.name}: the command is empty")
        if not agent.working_dir.startswith("/"):
            raise _refused(f"{agent.name}: working_dir is not absolute")
        if any("\0" in text for text in (*agent.command, agent.working_dir, *agent.env, *agent.env.values())):
            raise _refused(f"{agent.name}: a NUL byte cannot be passed to a program")
    waiting = circle({agent.name: [need.agent for need in agent.depends_on] for agent in fleet.agents})
    if waiting:
        raise _refused(f"agents that wait for each other would never start: {' -> '.join(waiting)}")


def merge(old: FleetSpec, new: FleetSpec) -> FleetSpec:
    """`new`'s agents added to or put in place of those of `old`."""
    added = {agent.name: agent for agent in new.agents}
    kept = [added.pop(agent.name, agent) for agent in old.agents]
    return replace(
        old,
        agents=(*kept, *added.values()),
        alerts=new.alerts or old.alerts,
        last_resort=new.last_resort or old.last_resort,
        node=new.node if new.node != Node() else old.node,
        source=old.source or new.source,
    )


def compare(old: FleetSpec, new: FleetSpec) -> FleetChange:
    """What `new` changes, by name, in the order of the files."""
    before = {agent.name: agent for agent in old.agents}
    after = {agent.name for agent in new.agents}
    return FleetChange(
        added=[agent.name for agent in new.agents if agent.name not in before],
        changed=[agent.name for agent in new.agents if before.get(agent.name, agent) != agent],
        removed=[name for name in before if name not in after],
        unchanged=[agent.name for agent in new.agents if before.get(agent.name) == agent],
    )


def needs_new_process(old: AgentSpec, new: AgentSpec) -> bool:
    """Whether what runs would have been started differently."""
    same = {name: getattr(new, name) for name in _LIVE_FIELDS}
    # Of health, only the beat is part of its environment: WATCHDOG_USEC.
    return replace(old, **same) != new or (new.notify and old.health.beat_s != new.health.beat_s)


def policy_of(spec: AgentSpec) -> Policy:
    """The ladder's numbers for one agent."""
    return Policy(
        backoff_s=spec.restart.backoff_s,
        window_s=spec.restart.window_s,
        spacing_s=spec.restart.spacing_s,
        retry_s=spec.restart.retry_s,
        confirm_s=confirm.confirm_s(spec),
        start_deadline_s=spec.health.start_period_s,
        stop_grace_s=spec.stop.grace_s,
        hung_grace_s=spec.stop.hung_grace_s,
        strikes=spec.health.retries,
        once=spec.once,
        has_gate=has_gate(spec.health),
    )


def masked_agent(spec: AgentSpec) -> AgentSpec:
    """The specification as it may be shown."""
    if not spec.secret_env and not spec.logs.ship:
        return spec
    env = {key: MASK if key in spec.secret_env else value for key, value in spec.env.items()}
    ship = tuple(
        replace(one, url=mask_url(one.url), headers=dict.fromkeys(one.headers, MASK)) for one in spec.logs.ship
    )
    return replace(spec, env=env, logs=replace(spec.logs, ship=ship))


def masked(fleet: FleetSpec) -> FleetSpec:
    """The fleet as it may be shown: no secret values, no addresses of alert channels."""
    hidden = tuple(
        replace(channel, webhook=channel.webhook and MASK, ntfy=channel.ntfy and MASK) for channel in fleet.alerts
    )
    return replace(fleet, agents=tuple(masked_agent(agent) for agent in fleet.agents), alerts=hidden)


def digest(fleet: FleetSpec) -> str:
    """Names a fleet in the ledger without its secrets."""
    return hashlib.sha256(msgspec.json.encode(fleet, order="deterministic")).hexdigest()


def save(path: Path, fleet: FleetSpec) -> None:
    """Raises OSError; the old file is then untouched."""
    write_atomic(path, msgspec.json.encode(fleet))


def load(path: Path) -> FleetSpec | None:
    """None when there is none or it cannot be read as one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=FleetSpec)
    except (OSError, msgspec.DecodeError):
        return None


def _refused(reason: str) -> HoldfastError:
    return HoldfastError(errors.API_REFUSED, reason=reason)
