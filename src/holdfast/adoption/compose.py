"""The services of a compose file, as far as the container recipe can run them. Pure.

Invariant: what cannot be carried over (a build, a value made from variables, a secret) is named, never guessed, and no
value that may be a secret is kept. Called by surroundings.py; proposal.py turns services into agents.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from msgspec import Struct

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
_KNOWN = frozenset(
    {"image", "command", "environment", "env_file", "ports", "volumes", "user", "restart", "container_name"}
    | {"network_mode", "depends_on", "labels", "stop_grace_period", "init", "tty", "stdin_open", "hostname", "logging"}
)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Service(Struct, frozen=True, kw_only=True):
    """One service. `missing`: what a person has to add before it runs as it did."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    env_files: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    user: str = ""
    missing: tuple[str, ...] = ()


def services(text: str, project: str) -> tuple[Service, ...]:
    """All of them, those that cannot be run included; () when the text is no compose file."""
    import yaml

    try:
        root = yaml.safe_load(text)
    except yaml.YAMLError:
        return ()
    declared = root.get("services") if isinstance(root, dict) else None
    if not isinstance(declared, dict):
        return ()
    named = root.get("name")
    project = str(named) if named else re.sub(r"[^a-z0-9_-]", "", project.lower())
    many = sum(isinstance(body, dict) for body in declared.values()) > 1
    volumes = root.get("volumes")
    return tuple(
        _service(str(name), body, project, volumes if isinstance(volumes, dict) else {}, many)
        for name, body in declared.items()
        if isinstance(body, dict)
    )


def _service(name: str, body: dict[str, Any], project: str, volumes: dict[str, Any], many: bool) -> Service:
    missing: list[str] = []
    image = str(body.get("image") or "")
    if not image:
        missing.append("it is built, not fetched: build it once and name the image")
    env = _environment(body.get("environment"), missing)
    ports = tuple(str(each) for each in _items(body.get("ports")) if not isinstance(each, dict))
    if len(ports) != len(_items(body.get("ports"))):
        missing.append("ports in the long form")
    mode = str(body.get("network_mode") or "")
    if many and mode != "host":
        missing.append("names of other services do not resolve: give the agents a `network` they share")
    missing += [f"`{key}`" for key in body if key not in _KNOWN and not str(key).startswith("x-")]
    command = body.get("command")
    words = shlex.split(command) if isinstance(command, str) else [str(each) for each in _items(command)]
    kept = Service(
        name=agent_name(name),
        image=image,
        command=tuple(words),
        env=env,
        env_files=tuple(str(each) for each in _items(body.get("env_file")) if isinstance(each, str)),
        ports=ports if mode != "host" else (),
        volumes=tuple(_volume(each, project, volumes, missing) for each in _items(body.get("volumes"))),
        user=str(body.get("user") or ""),
        missing=tuple(missing),
    )
    if any("$" in each for each in (kept.image, *kept.command, *kept.ports, *kept.volumes, kept.user)):
        return Service(name=kept.name, image="", missing=(*missing, "values made from variables ($)"))
    return kept


def _environment(value: Any, missing: list[str]) -> dict[str, str]:
    """Plain values only; a secret or a variable is named, and its value left where it is."""
    pairs = value.items() if isinstance(value, dict) else (str(each).partition("=")[::2] for each in _items(value))
    found: dict[str, str] = {}
    for name, given in pairs:
        text = "" if given is None else str(given)
        if _SECRET.search(str(name)) or "$" in text or text == "":
            missing.append(f"the value of {name}, in an env_file")
        else:
            found[str(name)] = str(given).lower() if isinstance(given, bool) else text
    return found


def _volume(value: Any, project: str, volumes: dict[str, Any], missing: list[str]) -> str:
    """`HOST:INSIDE`; compose puts the project's name before a volume's own."""
    if isinstance(value, dict):
        missing.append("volumes in the long form")
        return "$"
    host, colon, inside = str(value).partition(":")
    if not colon or host[:1] in "./~":
        return str(value)
    declared = volumes.get(host)
    settings = declared if isinstance(declared, dict) else {}
    own = settings.get("name") or (host if settings.get("external") else f"{project}_{host}")
    return f"{own}:{inside}"


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def agent_name(name: str) -> str:
    """A name that holdfast.yaml takes."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
    return plain if _NAME.fullmatch(plain) else "agent"
