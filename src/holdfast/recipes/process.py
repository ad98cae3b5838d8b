"""The recipe of any program that runs in the foreground: no defaults of its own, the usual meanings of exits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from holdfast.recipes import exits
from holdfast.recipes.model import FileWrite, FunctionProbe, Launch, PodFacts, Quiesce
from holdfast.spec.model import AgentSpec
from holdfast.spec.recipe import Ask, Finding, Given, Option
from holdfast.spec.validator import CODE, Kind, Validator

_UNKNOWN_CHANNELS = (
    "Holdfast does not know how {name} is kept from its channels and schedules, or on which ports it listens: take its "
    "logins out of the copy and give it other ports, or it answers and acts beside the original"
)


class ProcessRecipe:
    """Also the base of the other recipes: each of them overrides what is different for it."""

    name: str = "process"
    options: tuple[Option, ...] = ()
    replicable: bool = True
    starts_on_damage: bool = False
    refused_stop_signals: Mapping[str, str] = MappingProxyType({})

    def defaults(self, ask: Ask) -> Given:
        return Given()

    def prepare(self, spec: AgentSpec, facts: PodFacts) -> Launch:
        return Launch(argv=spec.command, env=dict(spec.env), scrub=spec.scrub_env)

    def before_stop(
        self, spec: AgentSpec, pid: int, starttime: int, *, stopper_pid: int, now_at: float
    ) -> tuple[FileWrite, ...]:
        return ()

    def explain_exit(self, spec: AgentSpec, code: int | None, signal: int | None, last_log_lines: Sequence[str]) -> str:
        return exits.explain(spec, code, signal, last_log_lines)

    def inspector_port(self, spec: AgentSpec) -> int | None:
        return None

    def check(self, spec: AgentSpec) -> tuple[Finding, ...]:
        return ()

    def function_probe(self, spec: AgentSpec) -> FunctionProbe | None:
        return None

    def state_validators(self, spec: AgentSpec) -> tuple[Validator, ...]:
        """Whatever is a database is whole, and whatever is called JSON can be read."""
        skip = (*spec.state.exclude, *CODE)
        return (
            Validator(kind=Kind.SQLITE, path="*", skip=skip),
            Validator(kind=Kind.JSON_ANY, path="*.json", skip=skip),
        )

    def quiesce(self, spec: AgentSpec) -> Quiesce | None:
        return None

    def stale_after_restore(self, spec: AgentSpec) -> tuple[str, ...]:
        return ()

    def clone_options(self, spec: AgentSpec, port: int) -> dict[str, Any] | None:
        return None

    def clone_env(self, spec: AgentSpec) -> dict[str, str]:
        return {}

    def clone_notes(self, spec: AgentSpec) -> tuple[str, ...]:
        return (_UNKNOWN_CHANNELS.format(name=spec.name),)
