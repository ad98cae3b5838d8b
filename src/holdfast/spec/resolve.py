"""Layers into one agent: built-in values, the file's defaults, the recipe's, env files, the template, the agent's own.

Later ones win: a recipe knows its agent better than the file's defaults do. Mappings merge key by key, everything
else is replaced whole. Invariant: an agent is built only when nothing about it
was refused; the settings say for every key where its value came from. Called by `load.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from holdfast.spec import agreement, masking, units
from holdfast.spec.build import build
from holdfast.spec.envfile import EnvLine, read_env_file
from holdfast.spec.fields import BUILT_IN
from holdfast.spec.layers import Layer, Setting
from holdfast.spec.model import AgentSpec
from holdfast.spec.problems import Problems, nearest, show, show_path
from holdfast.spec.readers import REFUSED, Cursor
from holdfast.spec.recipe import Ask, Finding, RecipeBook, RecipeForm
from holdfast.spec.source import Unreadable


@dataclass(frozen=True, slots=True)
class Resolved:
    """One agent, the origin of each of its settings, and where it is declared."""

    spec: AgentSpec
    settings: Layer
    line: int
    file: str


@dataclass(slots=True)
class Resolver:
    """Resolves the agents of all files; env files are read once each."""

    book: RecipeBook
    problems: Problems
    env_files: dict[str, dict[str, EnvLine]] = field(default_factory=dict)

    def agent(
        self, name: str, at: Cursor, line: int, layers: Sequence[Layer], *, flawed: bool = False
    ) -> Resolved | None:
        """`layers`: the defaults first, then the template if any, the agent's own last; None when refused.

        `at` and `line`: where it is declared. `flawed`: something about it was already refused, which may be why it
        has no command.
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
            self._note(finding, own, at, line)
        if settings[("command",)].value is None and not given.findings and not flawed:
            recipes = ", ".join(one for one in sorted(self.book.names()) if one != "process")
            expected = f"command: [PROGRAM, ...], or recipe: with one of {recipes}"
            at.refuse(expected, "no command", line=line)
        self._cross_checks(settings, recipe, at, line)
        self._beats(settings, strong)
        self._kept(settings, layers[-1])
        for one in agreement.contradictions(settings, strong):
            place = one.at if one.at.line else Setting(None, "", line, at.field, file=at.problems.file)
            wrong = (
                place.field.rpartition(".")[0] + f".{one.key[-1]}" if one.at.line else ".".join((at.field, *one.key))
            )
            self.problems.add(place.line, wrong, one.found, one.expected, file=place.file)
        if any(one.value is REFUSED for one in own.values()) or settings[("command",)].value is None:
            return None
        environment = {path[1]: str(one.value) for path, one in settings.items() if path[0] == "env" and len(path) == 2}
        from_files = {path[1] for path in env if settings[path] is env[path]}
        secrets = sorted(from_files.union(masking.secret_names(environment)))
        values = {path: one.value for path, one in settings.items()}
        spec = build(name, recipe.name, values, given, secrets, str(at.base))
        return Resolved(spec, settings, line, at.problems.file)

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
                file=chosen.file,
            )
        return found

    def _foreign_blocks(self, own: Layer, recipe: RecipeForm) -> None:
        for path, setting in own.items():
            if path[0] in self.book.names() and path[0] != recipe.name:
                said = f"a key of recipe {path[0]} in an agent of recipe {recipe.name}"
                self.problems.add(setting.line, setting.field, said, f"recipe: {path[0]}", file=setting.file)

    def _note(self, finding: Finding, own: Layer, at: Cursor, line: int) -> None:
        setting = own.get(finding.field) or Setting(
            None, "", line, ".".join((at.field, *finding.field)), file=at.problems.file
        )
        self.problems.add(
            setting.line,
            setting.field,
            finding.found,
            finding.expected,
            finding.meant,
            file=setting.file,
            severity=finding.severity,
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
                env[("env", name)] = Setting(one.value, f"{path}:{one.line}", one.line, name, file=path)
        return env

    def _read_env_file(self, path: str, asked: Setting) -> dict[str, EnvLine]:
        try:
            return read_env_file(path, self.problems)
        except Unreadable as error:
            if error.line:
                self.problems.add(error.line, "env_file", error.reason, "UTF-8 text", file=path)
            elif error.missing:
                said = f"no file {show_path(path)}"
                self.problems.add(asked.line, asked.field, said, "an env file that exists", file=asked.file)
            else:
                said = f"{show_path(path)}, which cannot be read: {error.reason}"
                self.problems.add(asked.line, asked.field, said, "a readable env file", file=asked.file)
        return {}

    def _cross_checks(self, settings: Layer, recipe: RecipeForm, at: Cursor, line: int) -> None:
        home = Setting(None, "", line, at.field, file=at.problems.file)
        interval, timeout = settings[("health", "interval")], settings[("health", "timeout")]
        if isinstance(interval.value, float) and isinstance(timeout.value, float) and timeout.value > interval.value:
            written = next((one for one in (timeout, interval) if one.line), home)
            found = f"a timeout of {units.format_duration(timeout.value)}"
            self._refuse(written, found, f"at most the interval ({units.format_duration(interval.value)})")
        signal = settings[("stop", "signal")]
        reason = recipe.refused_stop_signals.get(signal.value) if isinstance(signal.value, str) else None
        if reason:
            self._refuse(signal if signal.line else home, signal.value, f"another signal: {reason}")

    def _refuse(self, at: Setting, found: str, expected: str) -> None:
        self.problems.add(at.line, at.field, found, expected, file=at.file)

    def _kept(self, settings: Layer, own: Layer) -> None:
        """How state is kept, said of an agent that has none to keep, would be a promise without effect."""
        if settings[("state", "paths")].value or ("state", "paths") in own:
            return
        said = next((one for path, one in own.items() if path[0] == "state" and one.value is not REFUSED), None)
        if said is not None:
            field = said.field.rpartition(".")[0] + ".paths"
            expected = "the files and directories to keep, such as paths: [data]"
            self.problems.add(said.line, field, "nothing", expected, file=said.file)

    def _beats(self, settings: Layer, strong: Layer) -> None:
        """Beats come over the socket that `notify` offers: without it, beats asked for by defaults are not due."""
        beat, notify = settings[("health", "beat")], settings[("notify",)]
        if notify.value is not False or not isinstance(beat.value, float):
            return
        if ("health", "beat") in strong:
            self._refuse(beat, "beats without a socket for them", "no notify: false, or no beat")
            return
        why = "notify is off: there is no socket to beat on"
        settings[("health", "beat")] = replace(notify, value=None, why=why)


def _ask(recipe: RecipeForm, own: Layer) -> Ask:
    options = {path[1]: one.value for path, one in own.items() if path[0] == recipe.name and len(path) == 2}
    memory = own.get(("limits", "memory"))
    return Ask(
        options={name: value for name, value in options.items() if value is not REFUSED},
        refused=frozenset(name for name, value in options.items() if value is REFUSED),
        memory_bytes=memory.value if memory and isinstance(memory.value, int) else None,
        has_command=("command",) in own,
    )
