"""Layers into one agent: built-in values, the file's defaults, the recipe's, env files, the template, the agent's own.

Later ones win: a recipe knows its agent better than the file's defaults do. Mappings merge key by key, everything
else is replaced whole. Invariant: an agent is built only when nothing about it
was refused; the settings say for every key where its value came from. Called by `load.py`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from holdfast.spec import masking, units
from holdfast.spec.envfile import EnvLine, read_env_file
from holdfast.spec.fields import BUILT_IN
from holdfast.spec.layers import Layer, Setting
from holdfast.spec.model import AgentSpec, Health, Limits, Restart, Stop
from holdfast.spec.problems import Problems, nearest, show, show_path
from holdfast.spec.readers import REFUSED
from holdfast.spec.recipe import Ask, Finding, Given, RecipeBook, RecipeForm
from holdfast.spec.source import Unreadable


@dataclass(frozen=True, slots=True)
class Resolved:
    """One agent and the origin of each of its settings."""

    spec: AgentSpec
    settings: Layer
    line: int


@dataclass(slots=True)
class Resolver:
    """Resolves the agents of one file; env files are read once each."""

    book: RecipeBook
    problems: Problems
    base: FilePath
    env_files: dict[str, dict[str, EnvLine]] = field(default_factory=dict)

    def agent(
        self, name: str, field_name: str, line: int, layers: Sequence[Layer], *, flawed: bool = False
    ) -> Resolved | None:
        """`layers`: the defaults first, then the template if any, the agent's own last; None when refused.

        `flawed`: something about it was already refused, which may be why it has no command.
        """
        strong: Layer = {}
        for layer in layers[1:]:
            strong |= layer
        own = layers[0] | strong
        recipe = self._recipe(own)
        if recipe is None:
            return None
        self._foreign_blocks(layers[-1], recipe)
        env = self._env_files(own)
        given = recipe.defaults(_ask(recipe, own))
        settings = {path: Setting(one.value, "default", why=one.why) for path, one in BUILT_IN.items()}
        settings |= layers[0]
        source = f"recipe {recipe.name}"
        settings |= {path: Setting(one.value, source, why=one.why) for path, one in given.values.items()}
        settings |= env | strong
        for finding in given.findings:
            self._note(finding, own, field_name, line)
        if settings[("command",)].value is None and not given.findings and not flawed:
            recipes = ", ".join(one for one in sorted(self.book.names()) if one != "process")
            expected = f"command: [PROGRAM, ...], or recipe: with one of {recipes}"
            self.problems.add(line, field_name, "no command", expected)
        self._cross_checks(settings, recipe, field_name, line)
        if any(one.value is REFUSED for one in own.values()) or settings[("command",)].value is None:
            return None
        return Resolved(self._build(name, recipe, settings, given, env), settings, line)

    def _recipe(self, own: Layer) -> RecipeForm | None:
        chosen = own.get(("recipe",))
        if chosen is None or chosen.value is REFUSED:
            return self.book.find(str(BUILT_IN[("recipe",)].value))
        found = self.book.find(chosen.value)
        if found is None:
            names = self.book.names()
            self.problems.add(
                chosen.line,
                chosen.field,
                f"the recipe {show(chosen.value)}",
                f"one of {', '.join(sorted(names))}",
                nearest(chosen.value, names),
            )
        return found

    def _foreign_blocks(self, own: Layer, recipe: RecipeForm) -> None:
        for path, setting in own.items():
            if path[0] in self.book.names() and path[0] != recipe.name:
                said = f"a key of recipe {path[0]} in an agent of recipe {recipe.name}"
                self.problems.add(setting.line, setting.field, said, f"recipe: {path[0]}")

    def _note(self, finding: Finding, own: Layer, field_name: str, line: int) -> None:
        at = own.get(finding.field)
        where = ".".join((field_name, *finding.field)) if at is None else at.field
        self.problems.add(
            at.line if at else line, where, finding.found, finding.expected, finding.meant, severity=finding.severity
        )

    def _env_files(self, own: Layer) -> Layer:
        asked = own.get(("env_file",))
        if asked is None or asked.value is REFUSED:
            return {}
        env: Layer = {}
        for path in asked.value:
            if path not in self.env_files:
                self.env_files[path] = self._read_env_file(path, asked)
            for name, one in self.env_files[path].items():
                env[("env", name)] = Setting(one.value, f"{path}:{one.line}", one.line, name)
        return env

    def _read_env_file(self, path: str, asked: Setting) -> dict[str, EnvLine]:
        try:
            return read_env_file(path, self.problems)
        except Unreadable as error:
            if error.line:
                self.problems.add(error.line, "env_file", error.reason, "UTF-8 text", file=path)
            elif error.missing:
                self.problems.add(asked.line, asked.field, f"no file {show_path(path)}", "an env file that exists")
            else:
                said = f"{show_path(path)}, which cannot be read: {error.reason}"
                self.problems.add(asked.line, asked.field, said, "a readable env file")
        return {}

    def _cross_checks(self, settings: Layer, recipe: RecipeForm, name: str, line: int) -> None:
        interval, timeout = settings[("health", "interval")], settings[("health", "timeout")]
        if isinstance(interval.value, float) and isinstance(timeout.value, float) and timeout.value > interval.value:
            at = timeout if timeout.line else interval
            most = units.format_duration(interval.value)
            found = units.format_duration(timeout.value)
            self.problems.add(
                at.line or line, at.field or name, f"a timeout of {found}", f"at most the interval ({most})"
            )
        signal = settings[("stop", "signal")]
        reason = recipe.refused_stop_signals.get(signal.value) if isinstance(signal.value, str) else None
        if reason:
            self.problems.add(signal.line or line, signal.field or name, signal.value, f"another signal: {reason}")

    def _build(self, name: str, recipe: RecipeForm, settings: Layer, given: Given, env_file: Layer) -> AgentSpec:
        def get(*path: str) -> Any:
            setting = settings.get(path)
            return setting.value if setting else None

        env = {path[1]: str(one.value) for path, one in settings.items() if path[0] == "env" and len(path) == 2}
        from_files = {path[1] for path in env_file if settings[path] is env_file[path]}
        working_dir = get("working_dir") or str(self.base)
        probe = get("health", "http")
        return AgentSpec(
            name=name,
            command=_program(get("command"), working_dir),
            recipe=recipe.name,
            working_dir=working_dir,
            env=env,
            secret_env=tuple(sorted(from_files.union(masking.secret_names(env)))),
            user=get("user"),
            priority=get("priority"),
            labels={path[1]: str(one.value) for path, one in settings.items() if path[0] == "labels"},
            once=get("once"),
            limits=Limits(
                memory_bytes=get("limits", "memory"),
                cpus=get("limits", "cpus"),
                pids=get("limits", "pids"),
                nofile=get("limits", "nofile"),
            ),
            health=Health(
                http=probe,
                start_gate=get("health", "start_gate") if probe is not None else None,
                interval_s=get("health", "interval"),
                timeout_s=get("health", "timeout"),
                retries=get("health", "retries"),
                start_period_s=get("health", "start_period"),
                start_cpu_s=get("health", "start_cpu"),
            ),
            stop=Stop(
                signal=get("stop", "signal"), grace_s=get("stop", "grace"), hung_grace_s=get("stop", "hung_grace")
            ),
            restart=Restart(
                backoff_s=get("restart", "backoff"),
                window_s=get("restart", "window"),
                spacing_s=get("restart", "spacing"),
                retry_s=get("restart", "retry"),
            ),
            exit_codes={path[1]: one.value for path, one in settings.items() if path[0] == "exit_codes"},
            ask_codes=given.ask_codes,
            notify=get("notify"),
            scrub_env=given.scrub_env,
            recipe_data=dict(given.recipe_data),
        )


def _ask(recipe: RecipeForm, own: Layer) -> Ask:
    options = {path[1]: one.value for path, one in own.items() if path[0] == recipe.name and len(path) == 2}
    memory = own.get(("limits", "memory"))
    return Ask(
        options={name: value for name, value in options.items() if value is not REFUSED},
        refused=frozenset(name for name, value in options.items() if value is REFUSED),
        memory_bytes=memory.value if memory and isinstance(memory.value, int) else None,
        has_command=("command",) in own,
    )


def _program(command: tuple[str, ...], working_dir: str) -> tuple[str, ...]:
    """A program named by a path is made absolute here; a bare name is left to the agent's PATH."""
    first = os.path.expanduser(command[0]) if command[0].startswith("~/") else command[0]
    if "/" in first:
        first = os.path.normpath(os.path.join(working_dir, first))
    return (first, *command[1:])
