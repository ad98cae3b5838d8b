"""The text of somebody's first holdfast.yaml: what was found, and beside it, commented, what they may want next. Pure.

Invariant: the text is valid as it is, and stays so when any of its commented settings is uncommented; comments on top
of others stay comments. Called by `holdfast setup`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from msgspec import Struct

HEAD = """\
# Written by `holdfast setup`. Lines behind a # are off: take the # away to use them.
# `holdfast check --explain` prints every setting with its reason, `holdfast up` takes what you changed.
version: 1

agents:
"""
_PLAIN = re.compile(r"\.?[A-Za-z][A-Za-z0-9_./-]*")
_NOT_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})
# Each is one setting and why somebody might want it; {name} is the agent's.
HINTS: tuple[tuple[str, str, str], ...] = (
    ("health", "If it answers HTTP: asked every 2 s; three bad answers are a restart.",
     'health: {http: "http://127.0.0.1:8080/health"}'),
    ("health", "If its loop sends WATCHDOG=1 to $NOTIFY_SOCKET: two beats missed are a restart.",
     "health: {beat: 60s}"),
    ("limits", "What it may use at most; at 80 % of the memory you are told.",
     "limits: {memory: 2G, cpus: 2, pids: 500}"),
    ("env_file", "NAME=VALUE lines, for keys and tokens. The agent gets nothing from your shell.",
     "env_file: [{name}.env]"),
    ("restart", "A fresh start at a quiet hour.", 'restart: {at: "04:00"}'),
)  # fmt: skip
ALERT_HINT = """\
# Who is told when an agent cannot be healed. Until a test got through, nobody is: `holdfast alert test`.
# alerts:
#   - ntfy: https://ntfy.sh/a-topic-only-you-know
"""


class Candidate(Struct, frozen=True, kw_only=True):
    """One agent for the file. `needs`: why it is not started as it is."""

    name: str
    body: dict[str, Any]
    found: str  # what it was made from, in words
    needs: tuple[str, ...] = ()


class Channel(Struct, frozen=True, kw_only=True):
    """Where alerts go."""

    kind: str  # ntfy, webhook, command
    value: str | list[str]


def text(candidates: tuple[Candidate, ...], channel: Channel | None) -> str:
    """The whole file."""
    parts = [HEAD]
    for number, each in enumerate(candidates):
        parts.append(_agent(each, hints=number == 0))
    parts.append("\n" + (alerts(channel) if channel else ALERT_HINT))
    return "".join(parts)


def alerts(channel: Channel) -> str:
    """The block that stands at the end of a file."""
    value = json.dumps(channel.value, ensure_ascii=False)
    return (
        f"# Who is told when an agent cannot be healed: `holdfast alert test`.\nalerts:\n  - {channel.kind}: {value}\n"
    )


def with_alerts(existing: str, channel: Channel) -> str | None:
    """The file with alerts added at its end, every other byte as it was; None when it cannot be added so."""
    import yaml

    try:
        root = yaml.compose(existing, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    if not isinstance(root, yaml.MappingNode) or root.flow_style or any(key.value == "alerts" for key, _ in root.value):
        return None
    start = existing if existing.endswith("\n") else existing + "\n"
    added = f"{start}\n{alerts(channel)}"
    try:
        after = yaml.safe_load(added)
    except yaml.YAMLError:
        return None
    return added if isinstance(after, dict) and "alerts" in after else None


def _agent(candidate: Candidate, *, hints: bool) -> str:
    lines = [f"  {candidate.name}:", f"    # {_one_line(candidate.found)}"]
    lines += [f"    # before it runs: {_one_line(each)}" for each in candidate.needs]
    lines += [f"    {key}: {_value(value)}" for key, value in candidate.body.items()]
    for key, why, setting in HINTS if hints else ():
        if key not in candidate.body:
            lines += [f"    # {why}", f"    # {setting.replace('{name}', candidate.name)}"]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """In one line: JSON, which is YAML, with the quotes left away where a plain word cannot be taken for another."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value(key)}: {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def _one_line(words: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in words)
