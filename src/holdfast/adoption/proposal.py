"""What `holdfast setup` says of the surroundings, and what it offers to do about them, best first. Pure.

Invariants: an existing holdfast.yaml is never replaced; what runs already is not offered to be started a second time;
without a person to ask, nothing is chosen that takes something from somebody else's hands. Called by `holdfast setup`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from holdfast.adoption import plan
from holdfast.adoption.compose import Service, agent_name
from holdfast.adoption.discover import kind_of
from holdfast.adoption.first_file import Candidate
from holdfast.adoption.surroundings import Busy, Elsewhere, Surroundings

OfferKind = Literal["up", "adopt", "file", "command", "nothing"]
# A program file of this name is the one to start, in this order; anything else needs to say that it is a main program.
_FIRST = ("main", "agent", "bot", "app", "run", "server", "start", "index", "worker")
_AGENT_LIKE = re.compile(
    r"agent|(?<![a-z])bot(?![a-z])|llm|gpt|claude|openai|anthropic|langchain|langgraph|crewai|autogen|assistant|(?<![a-z])mcp(?![a-z])",
    re.IGNORECASE,
)
_RUNNERS = ("python", "node", "uv", "npm", "bun", "deno", "tsx")


class Offer(Struct, frozen=True, kw_only=True):
    """One thing setup can do."""

    kind: OfferKind
    title: str
    candidates: tuple[Candidate, ...] = ()
    what: str = ""  # adopt: openclaw or hermes
    state: str = ""  # adopt: its state directory

    @property
    def needs(self) -> tuple[str, ...]:
        """Why what it writes is not started right away."""
        return tuple(each for candidate in self.candidates for each in candidate.needs)


def told(seen: Surroundings) -> list[str]:
    """What was found, a line each."""
    lines: list[str] = []
    for found in seen.gateways:
        lines += plan.told(found)
    if seen.file:
        lines.append(f"a holdfast.yaml: {seen.file}")
    if seen.home_runs:
        lines.append(f"Holdfast runs in {seen.home}")
    elif seen.home_exists:
        lines.append(f"a Holdfast home that does not run: {seen.home}")
    lines += [f"{seen.compose_file}: {_listed([one.name for one in seen.services])}"] if seen.services else []
    for candidate in project(seen):
        lines.append(f"a program: {candidate.found}")
    for each in agent_like(seen):
        lines.append(f"{each.by} {each.name}: {_short(each.argv)}")
    return lines


def offers(seen: Surroundings) -> list[Offer]:
    """What can be done, the likeliest first; the last two are always there."""
    found: list[Offer] = []
    if seen.file:
        found.append(Offer(kind="up", title=f"start what {seen.file} declares"))
    for one in seen.gateways:
        if not one.missing:
            title = f"adopt {plan.words_of(one)}: same user, state and port; one command gives it back"
            found.append(Offer(kind="adopt", title=title, what=one.kind, state=one.state_dir))
    if not seen.file:
        candidates = project(seen)
        found += [Offer(kind="file", title=f"keep {one.found} alive", candidates=(one,)) for one in candidates]
        services = _services(seen)
        if services:
            title = f"keep the containers of {seen.compose_file} alive"
            found.append(Offer(kind="file", title=title, candidates=services))
        for each in agent_like(seen):
            candidate = _taken_from(each)
            found.append(Offer(kind="file", title=f"declare {each.name} of {each.by}", candidates=(candidate,)))
        found.append(Offer(kind="command", title="keep another command alive"))
    return [*found, Offer(kind="nothing", title="nothing now")]


def safest(choices: list[Offer]) -> Offer | None:
    """What is chosen where nobody is asked: never an adoption, and rather what can be started as it is."""
    ready = [one for one in choices if one.kind == "up" or (one.kind == "file" and not one.needs)]
    written = [one for one in choices if one.kind == "file"]
    return next(iter([*ready, *written]), None)


def of_command(line: str, seen: Surroundings) -> Candidate | None:
    """A command that a person typed; None when it is none."""
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    if not words:
        return None
    scripts = [word for word in words if os.path.splitext(word)[1] in (".py", ".js", ".mjs", ".sh")]
    name = agent_name(os.path.splitext(os.path.basename((scripts or words)[0]))[0])
    return Candidate(name=name, body=_with_user({"command": words}, seen), found=f"your command: {line}")


# --- the project ---------------------------------------------------------------------------------------------------
def project(seen: Surroundings) -> list[Candidate]:
    """Programs of this directory, the likeliest first; one of each language at most."""
    return [*list(_python(seen))[:1], *list(_node(seen))[:1], *list(_shell(seen))[:1]][:2]


def _python(seen: Surroundings) -> Iterator[Candidate]:
    words = f" with the virtual environment {seen.venv}" if seen.venv else ""
    venv: dict[str, Any] = {"venv": seen.venv} if seen.venv else {}
    for command in seen.commands:
        body = {"command": [f"{seen.venv}/bin/{command}"], "env": {"PYTHONUNBUFFERED": "1"}}
        yield _candidate(seen, command, body, f"{command} of {seen.venv}", command)
    if not seen.venv and "python3" not in seen.programs:
        return
    names = [one.name for one in seen.scripts if one.name.endswith(".py")]
    mains = {one.name for one in seen.scripts if one.is_main}
    for name in _ordered(names, mains):
        body = {"recipe": "python", "python": {**venv, "script": name}}
        yield _candidate(seen, name, body, f"{name}{words}", name)
    for module in seen.modules:
        body = {"recipe": "python", "python": {**venv, "module": module}}
        yield _candidate(seen, module, body, f"the module {module}{words}", module)


def _node(seen: Surroundings) -> Iterator[Candidate]:
    if "node" not in seen.programs:
        return
    start = seen.package_start.split()
    if len(start) > 1 and start[0] == "node" and not start[1].startswith("-") and "&" not in start:
        body: dict[str, Any] = {"recipe": "node", "node": {"script": start[1]}}
        if start[2:]:
            body["node"]["args"] = start[2:]
        yield _candidate(seen, seen.name, body, f"{start[1]} of package.json", start[1])
    names = {one.name for one in seen.scripts if os.path.splitext(one.name)[1] in (".js", ".mjs", ".cjs")}
    main = os.path.normpath(seen.package_main) if seen.package_main else ""
    for name in [*([main] if main in names else []), *_ordered(sorted(names), set())]:
        body = {"recipe": "node", "node": {"script": name}}
        yield _candidate(seen, name, body, f"{name} with Node", name)


def _shell(seen: Surroundings) -> Iterator[Candidate]:
    names = [one.name for one in seen.scripts if one.name.endswith(".sh") and one.executable]
    for name in _ordered(names, set()):
        yield _candidate(seen, name, {"command": [f"./{name}"]}, f"./{name}", name)


def _ordered(names: list[str], mains: set[str]) -> list[str]:
    """Those that look like the program to start: by their name, or by what they say of themselves."""

    def rank(name: str) -> int:
        stem = os.path.splitext(name)[0].lower()
        if stem in _FIRST:
            return _FIRST.index(stem)
        return len(_FIRST) if name in mains else -1

    return sorted((name for name in names if rank(name) >= 0), key=lambda name: (rank(name), name))


def _candidate(seen: Surroundings, title: str, body: dict[str, Any], found: str, mark: str) -> Candidate:
    busy = next((one for one in seen.busy if _runs(one, mark)), None)
    needs = (f"end process {busy.pid}, which runs it already",) if busy else ()
    body = _with_user(body, seen)
    if seen.env_file:
        body["env_file"] = [seen.env_file]
    return Candidate(name=agent_name(os.path.splitext(title)[0]), body=body, found=found, needs=needs)


def _runs(busy: Busy, mark: str) -> bool:
    """Whether this process is that program, and not an editor or a pager that has it open."""
    first = os.path.basename(busy.argv[0])
    words = [os.path.normpath(word) for word in busy.argv[1:4]]
    if first == os.path.basename(mark):
        return True
    is_runner = first.startswith(_RUNNERS)
    return is_runner and any(word == mark or word.endswith(f"/{mark}") for word in words)


def _with_user(body: dict[str, Any], seen: Surroundings) -> dict[str, Any]:
    """As root the agent runs as whoever the directory belongs to: a user of its own might not be able to enter."""
    return {**body, "user": seen.user} if seen.user else dict(body)


# --- containers and other supervisors ---------------------------------------------------------------------------------
def _services(seen: Surroundings) -> tuple[Candidate, ...]:
    return tuple(_of_service(one, seen) for one in seen.services if one.image)


def _of_service(service: Service, seen: Surroundings) -> Candidate:
    container: dict[str, Any] = {"image": service.image}
    if service.ports:
        container |= {"network": "bridge", "ports": list(service.ports)}
    if service.volumes:
        container["volumes"] = [each for each in service.volumes if ":" in each]
    if service.user:
        container["user"] = service.user
    body: dict[str, Any] = {"recipe": "container", "container": container}
    if service.command:
        body["command"] = list(service.command)
    if service.env:
        body["env"] = service.env
    if service.env_files:
        body["env_file"] = list(service.env_files)
    needs = [*service.missing, f"stop it there: docker compose stop {service.name}"]
    if not {"podman", "docker"} & set(seen.programs):
        needs.insert(0, "install podman or docker")
    found = f"service {service.name} of {seen.compose_file}"
    return Candidate(name=service.name, body=body, found=found, needs=tuple(needs))


def agent_like(seen: Surroundings) -> list[Elsewhere]:
    """What others start here that may be an agent: all of pm2's, else by its words or by where it lies."""
    here = seen.directory.rstrip("/") + "/"
    chosen = []
    for one in seen.elsewhere:
        line = " ".join((one.name, *one.argv))
        is_here = (one.cwd.rstrip("/") + "/").startswith(here) or any(word.startswith(here) for word in one.argv)
        if one.argv and kind_of(one.argv) is None and (one.by == "pm2" or is_here or _AGENT_LIKE.search(line)):
            chosen.append(one)
    return chosen


def _taken_from(one: Elsewhere) -> Candidate:
    body: dict[str, Any] = {"command": list(one.argv)}
    if one.cwd:
        body["working_dir"] = one.cwd
    needs = (f"stop it there: {one.stop}", "give it the environment that it has there")
    name = agent_name(os.path.splitext(one.name)[0])
    return Candidate(name=name, body=body, found=f"{one.by} {one.name}", needs=needs)


def _short(argv: tuple[str, ...]) -> str:
    """The program and its script; arguments behind them may be secrets."""
    return shlex.join(argv[:2])


def _listed(names: list[str]) -> str:
    return ", ".join(names)
