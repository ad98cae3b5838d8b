"""How a line of a log is shown: on a terminal, in a file, as JSON, or as the bytes it was. Pure but for the time zone.

Invariant: unless the bytes themselves are asked for and no terminal reads them, nothing an agent printed reaches the
reader as a control character. Called by logs.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.logs.query import Line
from holdfast.printable import columns, log_line

COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green", "bright_magenta")
LEVELS = {"error": "red", "err": "red", "fatal": "red", "critical": "red", "warn": "yellow", "warning": "yellow"}
PINO = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}
LEVEL_KEYS = ("level", "lvl", "severity", "levelname", "log.level")
MESSAGE_KEYS = ("message", "msg", "event", "text")
GAP = "--"


@dataclass(frozen=True, slots=True)
class Style:
    """`agents`: whose lines there are; with more than one, each line begins with its agent's name."""

    agents: tuple[str, ...]
    terminal: bool = False
    colours: bool = False
    raw: bool = False
    as_json: bool = False
    timestamps: bool = False
    utc: bool = False
    many: bool = False

    def shown(self, line: Line) -> bytes:
        """The line with everything around it, and its newline."""
        if self.as_json:
            found = {"agent": line.agent, "at": line.at_ns / 1e9, "line": line.text.decode("utf-8", "replace")}
            return json.dumps(found, ensure_ascii=False).encode() + b"\n"
        if self.raw and not self.terminal:
            return line.text + b"\n"
        text = line.text.decode("utf-8", "backslashreplace")
        if self.terminal and not self.raw and text.startswith("{"):
            text = self._fields(text) or log_line(text)
        else:
            text = log_line(text)
        gap = f"{GAP}\n" if line.gap else ""
        return f"{gap}{self._prefix(line)}{text}\n".encode("utf-8", "replace")

    def _prefix(self, line: Line) -> str:
        parts = []
        if self.timestamps:
            parts.append(_time(line.at_ns, self.utc))
        if self.many or len(self.agents) > 1:
            width = max((columns(name) for name in self.agents), default=0)
            place = self.agents.index(line.agent) if line.agent in self.agents else hash(line.agent)
            parts.append(self._paint(f"{line.agent.ljust(width)} |", COLOURS[place % len(COLOURS)]))
        return " ".join(parts) + " " if parts else ""

    def _paint(self, text: str, colour: str | None) -> str:
        if not self.colours or colour is None:
            return text
        import click

        return click.style(text, fg=colour)

    def _fields(self, text: str) -> str | None:
        """A line of JSON as `level message key=value …`; None when it is none."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict):
            return None
        level = next((found.pop(key) for key in LEVEL_KEYS if isinstance(found.get(key), str | int)), "")
        level = log_line(str(PINO.get(level, level) if isinstance(level, int) else level)).lower()
        message = next((found.pop(key) for key in MESSAGE_KEYS if isinstance(found.get(key), str)), "")
        parts = [self._paint(level, LEVELS.get(level)), log_line(message.replace("\n", " ⏎ "))]
        parts += [f"{log_line(str(key))}={_value(value)}" for key, value in found.items()]
        return " ".join(part for part in parts if part)


def _value(value: object) -> str:
    if isinstance(value, str) and value and not any(char.isspace() or char in '"=' for char in value):
        return log_line(value)
    return log_line(json.dumps(value, ensure_ascii=False))


def _time(at_ns: int, utc: bool) -> str:
    at = datetime.fromtimestamp(at_ns / 1e9, UTC)
    at = at if utc else at.astimezone()
    return at.strftime("%Y-%m-%dT%H:%M:%S") + ("Z" if utc else at.strftime("%z"))
