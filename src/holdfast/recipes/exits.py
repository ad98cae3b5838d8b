"""Exit codes and signals in words, for every recipe.

Invariant: always one clause of at most EXIT_WORDS_MAX_CHARS printable characters, with secrets masked; an unknown exit
is called unknown, never guessed. Called by the recipes' `explain_exit`.
"""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Sequence

from holdfast.spec.masking import mask_line
from holdfast.spec.model import AgentSpec

EXIT_WORDS_MAX_CHARS = 300
QUOTED_MAX_CHARS = 160
_EXCEPTION = re.compile(r"(?:Uncaught )?(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Warning|Exit)\b.*")
_CODES = {
    0: "ended by itself",
    1: "ended with a general error",
    2: "ended with a usage error",
    75: "asked to be started again (temporary failure)",
    78: "refused its configuration",
    126: "the command is not executable",
    127: "the command was not found",
}
_SIGNALS = {
    "SIGKILL": "killed by hand, or by the kernel when memory ran out",
    "SIGTERM": "ended by SIGTERM that was not planned",
    "SIGINT": "ended by SIGINT that was not planned",
    "SIGHUP": "ended by SIGHUP",
    "SIGSEGV": "crashed: invalid memory access (SIGSEGV)",
    "SIGBUS": "crashed: bus error, often a truncated mapped file (SIGBUS)",
    "SIGABRT": "aborted itself (SIGABRT)",
    "SIGILL": "crashed: illegal instruction, often a build for another processor (SIGILL)",
    "SIGFPE": "crashed: arithmetic error (SIGFPE)",
    "SIGPIPE": "ended by writing to a closed pipe (SIGPIPE)",
    "SIGXCPU": "used up its CPU time limit (SIGXCPU)",
    "SIGXFSZ": "wrote a file beyond its size limit (SIGXFSZ)",
    "SIGSYS": "made a forbidden system call (SIGSYS)",
}


def signal_name(number: int) -> str:
    """ "SIGKILL" for 9; "signal 40" for one without a name."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def explain(spec: AgentSpec, code: int | None, signal: int | None, last_log_lines: Sequence[str]) -> str:
    """What an exit means for any program: the agent's own `exit_codes` first, then the usual meanings."""
    key, label = _key(code, signal)
    if not key:
        return "ended while nobody could see its exit code"
    meaning = spec.exit_codes.get(key)
    if meaning is None and heap_exhausted(last_log_lines) and (key == "SIGABRT" or code == 134):
        meaning = "ran out of JavaScript heap: raise limits.memory, or look for a leak"
    if meaning is None and signal is not None:
        meaning = _SIGNALS.get(key, f"ended by {key}")
    if meaning is None and code is not None:
        if 128 < code < 160:
            meaning = f"its program reports {signal_name(code - 128)}"
        else:
            meaning = _CODES.get(code, "ended with an error of its own")
    return clause(f"{label}: {meaning}", said(last_log_lines) if code else "")


def _key(code: int | None, signal: int | None) -> tuple[str, str]:
    if signal is not None:
        name = signal_name(signal)
        return name, name
    return ("", "") if code is None else (str(code), f"exit {code}")


def heap_exhausted(lines: Sequence[str]) -> bool:
    """Whether Node's V8 said that its heap is full."""
    return any("heap out of memory" in line or "Reached heap limit" in line for line in lines)


def said(lines: Sequence[str]) -> str:
    """The last line that names an exception, as the agent's own reason; empty when there is none."""
    for line in reversed(lines):
        stripped = line.strip()
        if _EXCEPTION.match(stripped):
            return quote(stripped)
    return ""


def last_with(lines: Sequence[str], *needles: str) -> str:
    """The last line that holds one of `needles`, quoted; empty when there is none."""
    for line in reversed(lines):
        if any(one in line.lower() for one in needles):
            return quote(line.strip())
    return ""


def quote(line: str) -> str:
    """A log line as it may be told: masked, printable, cut."""
    printable = "".join(char if char.isprintable() else " " for char in mask_line(line[:4096]))
    return printable if len(printable) <= QUOTED_MAX_CHARS else printable[: QUOTED_MAX_CHARS - 3] + "..."


def clause(meaning: str, reason: str = "") -> str:
    """Meaning and the agent's own words, within the bound."""
    whole = f"{meaning} ({reason})" if reason else meaning
    return "".join(char if char.isprintable() else " " for char in whole)[:EXIT_WORDS_MAX_CHARS]
