"""An agent's place to run: made, made anew, taken away.

A pod is numbered; recreating an agent means the next number: new cgroups, an empty TMPDIR without stale sockets, and
the agent's state untouched. Everything is idempotent, so that the keeper may ask again after any crash. Called by the
keeper; the AgentDef goes to init, which alone starts processes.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Mapping
from pathlib import Path

from holdfast import errors, recipes
from holdfast.home import Home
from holdfast.init.protocol import AgentDef
from holdfast.node import oom, processes, reach, users
from holdfast.node.cgroups import CgroupPlan
from holdfast.node.users import Identity
from holdfast.pods import announce, command, environment, groups, places, trash
from holdfast.pods.limits import Holding, hold, standing
from holdfast.pods.model import Limit, Pod
from holdfast.spec.model import AgentSpec

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def identify(spec: AgentSpec, home: Home) -> Identity:
    """The user this agent runs as; may create a system user. Raises HoldfastError USER_UNAVAILABLE."""
    told = (spec.recipe_data.get("state_dir"), spec.working_dir)
    return users.resolve(spec.name, spec.user, [Path(each) for each in told if each], home.path)


def build(
    spec: AgentSpec,
    home: Home,
    plan: CgroupPlan,
    number: int,
    identity: Identity,
    *,
    fresh_tmp: bool = False,
    caller: Mapping[str, str] | None = None,
) -> tuple[AgentDef, Pod]:
    """Make what is missing of pod `number` and say how to start the agent in it. Idempotent.

    `caller`: the environment of which language, time zone and (ordinary user) PATH are taken; default: our own.
    Raises HoldfastError: COMMAND_NOT_FOUND, PLACE_UNREACHABLE, SPAWN_FAILED, DISK_FULL or HOME_UNUSABLE.
    """
    is_root = os.geteuid() == 0
    made = _places(home, spec.name, identity, fresh_tmp)
    recipe_facts = recipes.PodFacts(home_dir=made.home_dir, tmpdir=str(made.tmp))
    launch = recipes.find(spec.recipe).prepare(spec, recipe_facts)
    base = environment.clean(identity, made.home_dir, str(made.tmp), os.environ if caller is None else caller, is_root)
    base[announce.ENV] = str(announce.path_in(home.agent(spec.name)))
    env = environment.complete(base, launch.env, launch.scrub, spec.name, spec.notify, spec.health.beat_s)
    argv = list(launch.argv)
    command.check(spec.name, argv, spec.working_dir, env, identity)
    _check_reach(spec.name, made.tmp, identity)
    holding = hold(spec.limits, plan, _nofile_most())
    try:
        own = groups.make(plan, spec.name, number, (*holding.settings, *standing(plan, spec.priority)))
    except OSError as error:
        reason = f"its cgroup could not be made: {error.strerror}"
        raise errors.HoldfastError(errors.SPAWN_FAILED, agent=spec.name, reason=reason) from error
    other_user = is_root and identity.uid != 0
    definition = AgentDef(
        argv=argv,
        env=env,
        cwd=spec.working_dir,
        fifo=str(made.fifo),
        lock=str(made.lock),
        uid=identity.uid if other_user else None,
        gid=identity.gid if other_user else None,
        groups=list(identity.groups) if other_user else [],
        nofile=holding.nofile,
        data_bytes=holding.data_bytes,
        cgroup_v2=str(own.v2) if own.v2 else None,
        cgroup_v1=[str(each) for each in own.v1 if each not in own.late],
        cgroup_v1_late=[str(each) for each in own.late],
        oom_score_adj=oom.score_adj(spec.priority, oom.floor()),
        stop_signal=spec.stop.signal,
        grace_s=spec.stop.grace_s,
        notify=spec.notify,
        once=spec.once,
        memory_bytes=spec.limits.memory_bytes,
    )
    return definition, _facts(spec.name, number, identity, made, own, holding)


def recreate(spec: AgentSpec, home: Home, plan: CgroupPlan, number: int, identity: Identity) -> tuple[AgentDef, Pod]:
    """The pod after `number`, with an empty TMPDIR. The tree of the old one must be gone or going.

    The old cgroups are left for `tidy`; the old TMPDIR is deleted by `tidy` too. Raises as `build`.
    """
    return build(spec, home, plan, number + 1, identity, fresh_tmp=True)


def tidy(home: Home, plan: CgroupPlan, current: Mapping[str, int], agents: list[str]) -> list[str]:
    """Delete what recreations left: empty cgroups of former pods, and the trash of `agents`. Belongs into a thread.

    `current`: agent -> number of its pod. Returns what is left and why it matters not: cgroups still in use.
    """
    left = groups.prune(plan, current)
    for agent in agents:
        if trash.empty(home.agent(agent)):
            left.append(str(home.agent(agent) / trash.NAME))
    return left


def remove(home: Home, plan: CgroupPlan, agent: str) -> bool:
    """Take away all pods of an agent that is down: cgroups, TMPDIR, FIFO and lock; logs, home and state stay.

    False when something is still in use; ask again then.
    """
    emptied = True
    for root in [plan.v2_root, *plan.v1_roots.values()]:
        if root is None:
            continue
        for found in root.glob(f"{agent}.*"):
            number = found.name.rpartition(".")[2]
            if found.name == f"{agent}.{number}" and number.isdecimal():
                emptied = groups.remove(plan, agent, int(number)) and emptied
    try:
        return places.remove(home, agent) == 0 and emptied
    except OSError:
        return False


def _places(home: Home, agent: str, identity: Identity, fresh_tmp: bool) -> places.Places:
    try:
        return places.prepare(home, agent, identity, fresh_tmp)
    except OSError as error:
        if error.errno in _NO_ROOM:
            what = f"making the place of {agent}"
            raise errors.HoldfastError(errors.DISK_FULL, path=home.agent(agent), what=what) from error
        raise errors.HoldfastError(errors.HOME_UNUSABLE, home=home.path, reason=error.strerror or error) from error


def _check_reach(agent: str, tmp: Path, identity: Identity) -> None:
    """The agent's user must be able to pass to its TMPDIR: a home below /root is closed to it."""
    try:
        reach.check(tmp, identity.uid, {identity.gid, *identity.groups}, reach.EXECUTE)
    except reach.Unreachable as error:
        raise errors.HoldfastError(errors.PLACE_UNREACHABLE, agent=agent, user=identity.name, path=error.path) from None


def _nofile_most() -> int:
    """The hard limit, or with CAP_SYS_RESOURCE the kernel's own bound."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if processes.capability(processes.CAP_SYS_RESOURCE):
        try:
            return max(hard, int(Path("/proc/sys/fs/nr_open").read_text()))
        except (OSError, ValueError):
            pass
    return hard


def _facts(
    agent: str, number: int, identity: Identity, made: places.Places, own: groups.Groups, holding: Holding
) -> Pod:
    limits: list[Limit] = []
    for each in holding.limits:
        failed = own.failed.get(each.name)
        if failed is None:
            limits.append(each)
        else:
            why = f"{each.by} refused: {failed}"
            limits.append(Limit(name=each.name, value=each.value, held=False, why=why))
    notes = [
        errors.HoldfastError(errors.LIMIT_NOT_HELD, agent=agent, limit=each.name, reason=each.why).as_dict()
        for each in limits
        if not each.held
    ]
    if made.kept_tmp:
        what = f"a fresh TMPDIR for {agent}"
        notes.append(errors.HoldfastError(errors.DISK_FULL, path=made.tmp, what=what).as_dict())
    return Pod(
        agent=agent,
        number=number,
        user=identity.name,
        uid=identity.uid,
        user_why=identity.why,
        tmpdir=str(made.tmp),
        home_dir=made.home_dir,
        cgroup_v2=str(own.v2) if own.v2 else None,
        cgroup_v1=tuple(str(each) for each in own.v1),
        limits=tuple(limits),
        notes=tuple(notes),
    )
