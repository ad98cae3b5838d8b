"""Env files: NAME=value lines, as dotenv writes them; nothing is interpolated, `$` stays `$`.

Invariant: a message about an env file names file and line and never shows a value. Called by `resolve.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast import limits
from holdfast.spec.problems import Problems, show
from holdfast.spec.source import read_text

_LINE = re.compile(r"(?:export[ \t]+)?(?P<name>[^=\s]*)[ \t]*=[ \t]*(?P<value>.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`"}
_FIELD = "env_file"


@dataclass(frozen=True, slots=True)
class EnvLine:
    value: str
    line: int


def read_env_file(path: str, problems: Problems) -> dict[str, EnvLine]:
    """The variables of the file. Raises source.Unreadable; the caller names the key that asked for the file."""
    text = read_text(path, limits.ENV_FILE_MAX_BYTES)
    found: dict[str, EnvLine] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            problems.add(number, _FIELD, "a line without =", "NAME=value", file=path)
            continue
        name = match["name"]
        if not _NAME.fullmatch(name):
            problems.add(number, _FIELD, f"the name {show(name)}", "a name of A-Z, a-z, 0-9 and _", file=path)
        elif name.startswith("HOLDFAST_") or name == "NOTIFY_SOCKET":
            problems.add(number, name, f"the name {name}", "another name: Holdfast sets this one itself", file=path)
        elif name in found:
            problems.add(
                number, name, f"the name again (first in line {found[name].line})", "each name once", file=path
            )
        else:
            value = _value(match["value"], number, name, path, problems)
            if value is not None:
                found[name] = EnvLine(value, number)
    return found


def _value(raw: str, line: int, name: str, path: str, problems: Problems) -> str | None:
    if raw[:1] not in ('"', "'"):
        value = re.split(r"(?:^|[ \t]+)#", raw, maxsplit=1)[0].rstrip()
    else:
        quote = raw[0]
        pattern = r"'([^']*)'" if quote == "'" else r'"((?:[^"\\]|\\.)*)"'
        match = re.match(pattern + r"[ \t]*(?:#.*)?$", raw)
        if match is None:
            problems.add(line, name, "a quote that does not close at the end of the line", "NAME=value", file=path)
            return None
        value = match[1]
        if quote == '"':
            value = re.sub(r"\\(.)", lambda one: _ESCAPES.get(one[1], one[0]), value)
    if "\0" in value or len(value.encode()) > limits.ARGUMENT_MAX_BYTES:
        problems.add(
            line, name, "a NUL character or a longer text", f"at most {limits.ARGUMENT_MAX_BYTES} bytes", file=path
        )
        return None
    return value
