"""What a person should know: the warnings of `ps` and the checks of `doctor`, from the keeper's own view.

Invariant: each names a numbered error and what to do next. Called by the keeper for the API.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from holdfast import errors
from holdfast.errors import ErrorKind, HoldfastError
from holdfast.keeper.density import telling
from holdfast.keeper.state import state_wiring
from holdfast.keeper.telling.views import Check, Warning

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


def warnings(keeper: Keeper) -> list[Warning]:
    """All that hold now, the gravest first."""
    return list(_warnings(keeper))


def _warnings(keeper: Keeper) -> Iterator[Warning]:
    path = keeper.home.path
    ledger, store = keeper.recorder.ledger, keeper.checkpoint.store
    if ledger.degraded:
        yield _warning(errors.DISK_FULL, path=path, what=f"the ledger ({ledger.degraded})")
    if store.paused:
        yield _warning(errors.DISK_FULL, path=path, what=f"the keeper's database ({store.paused})")
    if keeper.intake.journal_failed:
        yield _warning(errors.DISK_FULL, path=path, what=f"init's journal ({keeper.intake.journal_failed})")
    if keeper.casebook.write_error:
        yield _warning(errors.DISK_FULL, path=path, what=f"writing post-mortems ({keeper.casebook.write_error})")
    for found in keeper.checkpoint.corruptions:
        yield _warning(errors.STORE_CORRUPT, reason=found.reason, aside=found.aside)
    if keeper.outgoing.untested():
        yield _warning(errors.ALERT_UNTESTED)
    if keeper.outgoing.last_failure:
        channel, _, reason = keeper.outgoing.last_failure.partition(": ")
        yield _warning(errors.ALERT_FAILED, channel=channel, reason=reason)
    for said in state_wiring.warnings(keeper):
        yield Warning(code=said.kind.code, message=said.summary, next=said.next_step)
    for said in telling.warnings(keeper.semaphore, keeper.agents):
        yield Warning(code=said.kind.code, message=said.summary, next=said.next_step)
    if keeper.neighbours.names:
        yield _warning(errors.NOISY_NEIGHBOUR, detail="; ".join(keeper.neighbours.names))
    yield from _limits(keeper)


def _limits(keeper: Keeper) -> Iterator[Warning]:
    """Declared limits that do not hold: once for the machine, else agent by agent."""
    if keeper.places.plan.kind == "none":
        if any(_needs_cgroup(agent.spec.limits) for agent in keeper.agents.values()):
            yield _warning(errors.NO_CGROUPS)
        return
    for agent in keeper.agents.values():
        for note in agent.place.notes if agent.place is not None else ():
            yield Warning(code=note["code"], message=note["message"], next=note["next"])


def _needs_cgroup(limits: object) -> bool:
    return any(getattr(limits, name) is not None for name in ("memory_bytes", "cpus", "pids"))


def _warning(kind: ErrorKind, **detail: object) -> Warning:
    said = HoldfastError(kind, **detail)
    return Warning(code=kind.code, message=said.summary, next=said.next_step)


def checks(keeper: Keeper) -> list[Check]:
    """The machine's checks, then the keeper's own."""
    from holdfast.node.doctor import checks as of_machine  # seldom used: not in memory before it is asked for

    found = [msgspec.convert(msgspec.to_builtins(one), Check) for one in of_machine(keeper.home, keeper.places.plan)]
    ledger, store = keeper.recorder.ledger, keeper.checkpoint.store
    connected = keeper.link.connected
    found.append(
        Check(
            name="init",
            ok=connected,
            value="answers" if connected else f"does not answer: {keeper.link.last_error}",
            why="" if connected else "agents cannot be started or stopped while init is away",
            next="" if connected else "it is being restarted; see log/guard.log",
        )
    )
    for name, trouble in (("database", store.paused), ("ledger", ledger.degraded)):
        said = HoldfastError(errors.DISK_FULL, path=keeper.home.path, what=f"the {name}")
        value = trouble or f"writes, {ledger.head.seq} records" if name == "ledger" else trouble or "writes"
        found.append(
            Check(
                name=name,
                ok=not trouble,
                value=value,
                why=said.summary if trouble else "",
                next=said.next_step if trouble else "",
            )
        )
    untested = keeper.outgoing.untested()
    found.append(
        Check(
            name="alerts",
            ok=not untested,
            value="untested" if untested else "a test alert got through",
            why="nobody would be told" if untested else "",
            next=errors.ALERT_UNTESTED.next_step if untested else "",
        )
    )
    return found
