"""Who waits for whom: names as written become agents, replicas included; unknown names and circles are found.

Invariant: what comes out names only agents of the fleet and holds no circle, so that every start has its turn. Pure.
Called by `reading.py`, and by the keeper for fleets that came over the API (`circle`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from holdfast import limits
from holdfast.spec.layers import Setting
from holdfast.spec.model import AgentSpec, Dependency
from holdfast.spec.problems import Problems, nearest, show
from holdfast.spec.resolve import Resolved


def settle(agents: Sequence[Resolved], declared: Mapping[str, Sequence[str]], problems: Problems) -> list[Resolved]:
    """`agents` with their dependencies expanded. `declared`: each name as written to its replicas."""
    specs = {one.spec.name: one.spec for one in agents}
    owner = {name: key for key, names in declared.items() for name in names}
    settled: list[Resolved] = []
    total = 0
    for one in agents:
        needs: dict[Dependency, None] = {}
        for need in one.spec.depends_on:
            targets = declared.get(need.agent) or ((need.agent,) if need.agent in owner else ())
            wrong = _wrong(one.spec, need, targets, owner, specs)
            if wrong:
                _tell(problems, one, *wrong)
            else:
                needs.update(dict.fromkeys(replace(need, agent=target) for target in targets))
        total += len(needs)
        if total > limits.DEPENDENCIES_TOTAL_MAX:
            most = f"at most {limits.DEPENDENCIES_TOTAL_MAX} in all agents together, replicas counted"
            _tell(problems, one, "too many dependencies", most, "an agent that stands for the many it waits for")
            return list(agents)
        settled.append(Resolved(replace(one.spec, depends_on=tuple(needs)), one.settings, one.line, one.file))
    found = circle({one.spec.name: [need.agent for need in one.spec.depends_on] for one in settled})
    if found:
        first = next(one for one in settled if one.spec.name == found[0])
        _tell(problems, first, f"a circle: {' -> '.join(found)}", "agents that do not wait for each other", "")
    return settled


def _wrong(
    spec: AgentSpec,
    need: Dependency,
    targets: Sequence[str],
    owner: Mapping[str, str],
    specs: Mapping[str, AgentSpec],
) -> tuple[str, str, str] | None:
    """Found, expected, meant; None when all is well."""
    if not targets:
        return f"the agent {show(need.agent)}", "an agent of this fleet", nearest(need.agent, owner)
    if owner[targets[0]] == owner.get(spec.name):
        return f"the agent {show(need.agent)}, which is itself", "another agent", ""
    endless = next((name for name in targets if name in specs and not specs[name].once), None)
    if need.condition == "finished" and endless:
        return f"{need.agent}: finished", f"once: true in agent {endless}, which else never finishes", ""
    return None


def _tell(problems: Problems, one: Resolved, found: str, expected: str, meant: str) -> None:
    setting = one.settings.get(("depends_on",), Setting((), ""))
    field = setting.field or f"agents.{one.spec.name}.depends_on"
    problems.add(setting.line or one.line, field, found, expected, meant, file=setting.file or one.file)


def circle(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """The first circle, as [a, b, a]; empty without one. Names that are no key need nothing."""
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        on_path: set[str] = set()
        stack = [(start, iter(needs[start]))] if start not in done else []
        if stack:
            path.append(start)
            on_path.add(start)
        while stack:
            name, rest = stack[-1]
            step = next((one for one in rest if one in needs and one not in done), None)
            if step is None:
                stack.pop()
                path.pop()
                on_path.discard(name)
                done.add(name)
            elif step in on_path:
                return [*path[path.index(step) :], step]
            else:
                path.append(step)
                on_path.add(step)
                stack.append((step, iter(needs[step])))
    return []
