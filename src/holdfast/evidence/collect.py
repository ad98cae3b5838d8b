"""Takes the evidence of one tree, cheapest first, and hands over what it has after each step.

Invariants: it only looks (a stack pauses the process for milliseconds), it ends by itself at the order's time, and what
was handed over is whole and masked. Runs in a process of its own (`__main__.py`), which the keeper kills at the bound.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast import limits
from holdfast.evidence import group, inspector, proc, secrets, sockets, stacks
from holdfast.evidence.model import Bundle, Order, Process
from holdfast.evidence.stacks import Sample
from holdfast.node import processes

Hand = Callable[[bytes], None]


def collect(order: Order, hand: Hand) -> None:
    """Hands over one JSON line after each step; the last one is the whole. Nothing when the process is not there."""
    began = time.monotonic()
    if processes.starttime(order.pid) != order.starttime:
        return
    bundle = Bundle(agent=order.agent, instance=order.instance, taken_at=time.time(), main_pid=order.pid)
    tree = tree_of(order)
    known = sockets.table()
    looked = [found for pid in tree[: limits.BUNDLE_PROCESSES_MAX] if (found := proc.first_look(pid, known))]
    bundle.processes_total, bundle.processes = len(tree), tuple(looked)
    bundle.group = group.counters(order.cgroups)
    bundle.gaps += tuple(_unseen(looked))
    hand(line_of(bundle, order, began))
    if not order.quick:
        for process in looked[: limits.STACKED_PROCESSES_MAX]:
            bundle.gaps += _stacks(process, order, tree)
            hand(line_of(bundle, order, began))
    _cpu_shares(looked, began)
    for process in looked:
        proc.second_look(process)
    bundle.complete = True
    hand(line_of(bundle, order, began))


def tree_of(order: Order) -> list[int]:
    """The main process first, then the others: of its cgroup, else by parentage."""
    found = group.pids(order.cgroups, order.pid) or [each.pid for each in processes.tree(order.pid)]
    return [order.pid, *(pid for pid in found if pid != order.pid)]


def _stacks(process: Process, order: Order, tree: list[int]) -> tuple[str, ...]:
    """Fill in the frames of one process; what could not be had comes back as sentences."""
    left = _left(order)
    if left <= 0.1:
        return (f"there was no time left for the stack of process {process.pid}",)
    if stacks.is_python(process.program) or proc.maps_name(process.pid, "libpython"):
        sample = stacks.python(process.pid, process.state, left, paused=order.paused)
        if sample.frames:
            _join(process, sample)
            if sample.busy and not order.paused and _left(order) > limits.EVIDENCE_SAMPLE_S:
                _join_again(process, stacks.python(process.pid, process.state, _left(order)))
            return ()
        return (sample.gap, *_native(process, order))
    if stacks.is_node(process.program):
        if order.inspector_port is not None and process.pid == order.pid:
            sample = inspector.javascript(process.pid, order.inspector_port, tree, left)
            _join(process, sample)
            return (sample.gap, *_native(process, order)) if sample.gap else ()
        gap = f"process {process.pid} is Node and its recipe allows no inspector: no JavaScript function names"
        return (gap, *_native(process, order))
    return _native(process, order)


def _native(process: Process, order: Order) -> tuple[str, ...]:
    if _left(order) <= 0.1:
        return ()
    sample = stacks.native(process.pid, process.state, _left(order), paused=order.paused)
    _join(process, sample)
    return (sample.gap,) if sample.gap else ()


def _join(process: Process, sample: Sample) -> None:
    if not sample.frames:
        return
    process.stack_by = sample.by
    for thread in process.threads:
        thread.frames = sample.frames.get(thread.tid, ())
        thread.waits_for_lock = bool(thread.frames) and waits_for_lock(thread.wchan, thread.syscall)


def _join_again(process: Process, sample: Sample) -> None:
    for thread in process.threads:
        if thread.tid in sample.busy:
            thread.again = sample.frames.get(thread.tid, ())


def waits_for_lock(wchan: str, syscall: str) -> bool:
    """Whether the kernel says that a thread sleeps on a lock (futex: 202 on x86-64, 98 on arm64)."""
    number = syscall.split(" ")[0]
    return "futex" in wchan or number == ("98" if os.uname().machine == "aarch64" else "202")


def _cpu_shares(looked: list[Process], began: float) -> None:
    """Of one core, over at least the time a reading needs to mean something (ticks are 10 ms)."""
    time.sleep(max(0.0, min(0.1, began + 0.1 - time.monotonic())))
    passed_s = time.monotonic() - began
    for process in looked:
        now = processes.cpu_s(process.pid)
        if now is not None and passed_s > 0:
            process.cpu_share = round(max(0.0, now - process.cpu_s) / passed_s, 3)


def _unseen(looked: list[Process]) -> list[str]:
    """What /proc keeps from us, told once for all processes."""
    hidden = [process.pid for process in looked if process.descriptors_total == 0 and not process.program]
    if not hidden:
        return []
    shown = ", ".join(map(str, hidden[:5]))
    return [f"the kernel does not let us see files and sockets of process {shown}: it belongs to another user"]


def _left(order: Order) -> float:
    return order.until_mono - time.monotonic()


def line_of(bundle: Bundle, order: Order, began: float) -> bytes:
    """One line of JSON: masked, and within the bound."""
    bundle.took_s = round(time.monotonic() - began, 3)
    shown: dict[str, Any] = msgspec.to_builtins(bundle)
    for process in shown["processes"]:
        process["command"] = secrets.mask_command(process["command"], order.secrets)
    return fit(secrets.mask_all(shown, order.secrets)) + b"\n"


def fit(shown: dict[str, Any], most: int = limits.BUNDLE_MAX_BYTES) -> bytes:
    """As JSON in less than `most` bytes: what is worth least goes first."""
    data = msgspec.json.encode(shown)
    for field, kept in (("descriptors", 20), ("descriptors", 0), ("sockets", 20), ("threads", 8), ("threads", 2)):
        if len(data) < most:
            return data
        for process in shown["processes"]:
            process[field] = process[field][:kept]
        data = msgspec.json.encode(shown)
    if len(data) < most:
        return data
    shown["processes"] = shown["processes"][:1]
    return msgspec.json.encode(shown)
