"""Stacks of a process that does not answer: py-spy for Python, eu-stack for the rest. Parsing is pure.

Invariants: never a stack with local variables (they hold secrets); a process that the kernel holds (state D or T) is
never attached to, since that would wait with it; whoever was attached to by a tool that did not end by itself goes on;
what cannot be had becomes one sentence that says why.
Called by collect.py, in a process that is killed at the bound.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from holdfast import limits
from holdfast.evidence.model import Frame

_PYTHON = re.compile(r"^(?:python|pypy)[0-9.]*(?:t|d)?$")
_NODE = re.compile(r"^(?:node|nodejs|bun|deno)$")
_EU_THREAD = re.compile(r"^TID (\d+):")
_EU_FRAME = re.compile(r"^#\d+\s+0x[0-9a-f]+(?: - 1)?\s+(?P<name>\S.*?)(?:\s+-\s+(?P<file>/\S+))?$")
_SYMBOL_VERSION = re.compile(r"@@?[A-Za-z0-9_.]+$")
_HELD_BY_KERNEL = frozenset("DTt")
_REFUSED = ("permission", "not permitted", "ptrace", "os error 1)", "os error 13")


class Sample(NamedTuple):
    """Frames of each thread, innermost first, by thread id; `busy`: threads that ran; `gap`: why there is nothing."""

    by: str
    frames: dict[int, tuple[Frame, ...]]
    busy: frozenset[int] = frozenset()
    gap: str = ""


attached: list[int] = []  # to whom a tool attaches at present; see __main__.py

Run = Callable[[list[str], float], tuple[int, str, str]]


def is_python(program: str) -> bool:
    return _PYTHON.match(_base(program)) is not None


def is_node(program: str) -> bool:
    return _NODE.match(_base(program)) is not None


def _base(program: str) -> str:
    return program.removesuffix(" (deleted)").rpartition("/")[2]


def python(pid: int, state: str, timeout_s: float, run: Run | None = None, *, paused: bool = False) -> Sample:
    """By py-spy, paused for as long as it reads; unpaused where pausing is not allowed, would wait, or is done."""
    run = run or run_tool
    tool = py_spy()
    if tool is None:
        return Sample("py-spy", {}, gap="py-spy is not installed beside Holdfast: no Python function names")
    command = [tool, "dump", "--json", "--pid", str(pid)]
    unpaused = [*command, "--nonblocking"]
    first = unpaused if paused or state in _HELD_BY_KERNEL else command
    code, out, err = _attach(run, first, pid, timeout_s) if first is command else run(first, timeout_s)
    if code != 0 and first is command and _is_refused(err):
        code, out, err = run(unpaused, timeout_s)
    if code == 0:
        try:
            return parse_py_spy(out)
        except (ValueError, TypeError, KeyError) as error:
            err = f"its answer could not be read: {error!r}"
    return Sample("py-spy", {}, gap=f"py-spy did not see the Python stack of process {pid}: {_why(err)}")


def native(pid: int, state: str, timeout_s: float, run: Run | None = None, *, paused: bool = False) -> Sample:
    """By eu-stack: native functions only."""
    run = run or run_tool
    tool = shutil.which("eu-stack")
    if tool is None:
        return Sample("eu-stack", {}, gap="eu-stack (package elfutils) is not installed: no native function names")
    if state in _HELD_BY_KERNEL:
        return Sample("eu-stack", {}, gap=f"process {pid} is held by the kernel (state {state}): not attached to")
    if paused:
        return Sample("eu-stack", {}, gap=f"process {pid} is paused for a moment: not attached to")
    command = [tool, "-p", str(pid), "-n", str(limits.BUNDLE_FRAMES_MAX)]
    code, out, err = _attach(run, command, pid, timeout_s)
    frames = parse_eu_stack(out)
    if not frames:
        return Sample("eu-stack", {}, gap=f"eu-stack saw no stack of process {pid}: {_why(err) if code else 'nothing'}")
    return Sample("eu-stack", frames)


def parse_py_spy(text: str) -> Sample:
    """`py-spy dump --json`. Raises ValueError, TypeError or KeyError when it is not that."""
    frames: dict[int, tuple[Frame, ...]] = {}
    busy = set()
    for thread in json.loads(text):
        tid = int(thread.get("os_thread_id") or thread.get("thread_id") or 0)
        frames[tid] = tuple(_python_frame(frame) for frame in thread["frames"][: limits.BUNDLE_FRAMES_MAX])
        if thread.get("active"):
            busy.add(tid)
    return Sample("py-spy", frames, frozenset(busy))


def _python_frame(frame: dict[str, Any]) -> Frame:
    return Frame(
        function=str(frame["name"])[: limits.BUNDLE_TEXT_MAX_CHARS],
        file=str(frame.get("filename") or "")[: limits.BUNDLE_TEXT_MAX_CHARS],
        line=int(frame.get("line") or 0),
    )


def parse_eu_stack(text: str) -> dict[int, tuple[Frame, ...]]:
    """`eu-stack -p PID`: threads begin with "TID n:", frames with "#n"."""
    found: dict[int, list[Frame]] = {}
    current: list[Frame] = []
    for line in text.splitlines():
        thread = _EU_THREAD.match(line)
        if thread:
            current = found.setdefault(int(thread[1]), [])
            continue
        frame = _EU_FRAME.match(line)
        if frame and len(current) < limits.BUNDLE_FRAMES_MAX:
            name = _SYMBOL_VERSION.sub("", frame["name"])
            current.append(Frame(function=name[: limits.BUNDLE_TEXT_MAX_CHARS], file=frame["file"] or ""))
    return {tid: tuple(frames) for tid, frames in found.items() if frames}


def py_spy() -> str | None:
    """The one that was installed with Holdfast, else any on PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def _attach(run: Run, command: list[str], pid: int, timeout_s: float) -> tuple[int, str, str]:
    """Run a tool that stops the process while it reads."""
    attached.append(pid)
    code, out, err = run(command, timeout_s)
    attached.remove(pid)
    if code < 0:
        go_on(pid)
    return code, out, err


def go_on(pid: int) -> None:
    """Let a process go on that a tool may have left stopped: attaching stops it, and a killed tool lets nobody go."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGCONT)


def run_tool(command: list[str], timeout_s: float) -> tuple[int, str, str]:
    """Exit code, output, errors; -1 with a sentence when it had to be killed or could not be run."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=max(0.05, timeout_s), check=False
        )
    except subprocess.TimeoutExpired:
        return -1, "", "it took longer than there was time"
    except OSError as error:
        return -1, "", str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def _is_refused(err: str) -> bool:
    lowered = err.lower()
    return any(word in lowered for word in _REFUSED)


def _why(err: str) -> str:
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    reason = "; ".join(lines[:3])[:300] or "it did not say why"
    return reason + ptrace_hint() if _is_refused(err) else reason


def ptrace_hint() -> str:
    """Why looking into a process is refused, where the kernel says so."""
    try:
        scope = Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip()
    except OSError:
        return ""
    return "" if scope == "0" else f" (kernel.yama.ptrace_scope is {scope}; run Holdfast as root, or set it to 0)"
