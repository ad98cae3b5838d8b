"""A post-mortem as Markdown. Pure: a report in, text out. Called by `files.py`.

Invariant: the most likely cause is the first sentence, and "unknown" is said when it is; nothing an agent printed can
forge a heading or hide behind control characters.
"""

from __future__ import annotations

import time

from holdfast import limits, printable
from holdfast.evidence.model import Process, Thread
from holdfast.incidents import curve, grouping
from holdfast.incidents.model import Outcome
from holdfast.incidents.report import Act, Report
from holdfast.incidents.stuck import place
from holdfast.sizes import counted, size

_SURE = {"certain": "certain", "likely": "likely", "possible": "only possible", "none": ""}


def postmortem(report: Report) -> str:
    """What happened, for a person who was asleep."""
    incident = report.incident
    parts = [f"# {_text(incident.agent) or 'This machine'}: {_text(incident.cause)}", "", _first_sentence(report), ""]
    parts += [
        f"- Incident: {incident.id}",
        f"- Outcome: {_outcome(incident.outcome)}",
        f"- Began: {_stamp(incident.opened_at)} UTC",
        f"- Caught after: {_seconds(incident.caught_s)}",
        f"- Restored after: {_seconds(incident.restored_s)}",
        f"- Last exit: {_text(incident.exit) or 'the process did not exit by itself'}",
    ]
    agents = getattr(incident, "agents", ())
    if agents:
        parts.append(f"- Agents hit: {', '.join(map(_text, agents))}")
    if incident.function:
        parts.append(f"- Hung in: `{_code(incident.function)}`")
    parts.append(f"- How often: {_how_often(report)}")
    parts += _because(report)
    parts += ["", "## What Holdfast did", "", *([_act(one) for one in report.acts] or ["- nothing yet"])]
    parts += _timeline(report)
    parts += _changes(report)
    parts += _memory(report)
    parts += _evidence(report)
    parts += ["", "## Last lines it printed", ""]
    parts += [f"    {_line(line)}" for line in incident.log_lines] or ["It printed nothing."]
    parts += ["", "## What you can do", "", *(f"- {one}" for one in report.steps), ""]
    return "\n".join(parts)


def _act(act: Act) -> str:
    if not act.at:
        return f"- tier {act.tier}: {act.text}"
    return f"- {_stamp(act.at)} tier {act.tier}: {act.text} ({_seconds(act.after_s)} after the fault)"


def _first_sentence(report: Report) -> str:
    sentence = _text(report.likely.sentence)
    sure = _SURE.get(report.likely.confidence, report.likely.confidence)
    return f"{sentence} ({sure})" if sure else sentence


def _how_often(report: Report) -> str:
    if report.nth == 1 and not report.similar:
        return "the first of this kind"
    earlier = ", ".join(f"[{one.id}]({one.id}.md)" for one in report.similar)
    days = round(limits.SIMILAR_WINDOW_S / 86_400)
    return f"the {grouping.ordinal(report.nth)} of this kind in {days} days; earlier: {earlier}"


def _because(report: Report) -> list[str]:
    parts = ["", "## Why we think so", ""]
    parts += [f"- {_text(line)}" for line in report.likely.because] or ["- no rule explains what was found"]
    for other in report.others:
        parts.append(f"- also {_SURE.get(other.confidence, '')}: {_text(other.sentence)}")
    return parts


def _timeline(report: Report) -> list[str]:
    incident = report.incident
    parts = ["", "## Timeline (UTC)", ""]
    parts += [f"- {_stamp(moment.at)} {_text(moment.text)}" for moment in incident.timeline]
    if incident.moments_dropped:
        parts.append(
            f"- (left out in the middle: {counted(incident.moments_dropped, 'entry', 'entries')}; the ledger has all)"
        )
    return parts


def _changes(report: Report) -> list[str]:
    facts = report.facts
    if facts.proven_at:
        parts = ["", f"## What changed since it was last proven good ({_stamp(facts.proven_at)} UTC)", ""]
    else:
        parts = ["", "## What changed", "", "No instance had been good long enough to compare with."]
    listed = [f"- {_stamp(one.at) if one.at else 'at an unknown time'} {_text(one.text)}" for one in facts.changes]
    return parts + (listed or (["Nothing that Holdfast knows of."] if facts.proven_at else []))


def _memory(report: Report) -> list[str]:
    memory, kernel = report.facts.memory, report.facts.kernel
    picture = curve.svg(memory.curve, memory.limit_bytes, f"Memory of {report.incident.agent} before the fault")
    told = [
        f"- {name}: {size(value)}"
        for name, value in (
            ("Limit", memory.limit_bytes),
            ("Lease at the end", memory.lease_bytes),
            ("Peak", memory.peak_bytes),
            ("Last reading before", memory.used_bytes),
        )
        if value is not None
    ]
    if memory.oom_kills:
        told.append(f"- Processes the kernel killed for memory: {memory.oom_kills}")
    told += [f"- {_text(name)} (process {pid}): {size(held)}" for name, pid, held in kernel.biggest]
    if not told and not picture:
        return []
    parts = ["", "## Memory", "", *told, *(["", picture] if picture else [])]
    if kernel.lines:
        parts += ["", "The kernel said:", "", *(f"    {_line(one.text)}" for one in kernel.lines)]
    return parts


def _evidence(report: Report) -> list[str]:
    bundle = report.facts.bundle
    gaps = [*report.facts.gaps, *(bundle.gaps if bundle else ())]
    parts = ["", "## Evidence", ""]
    if bundle is None:
        parts.append(
            "Nothing was looked at while it ran." if not report.facts.hung else "It could not be looked at in time."
        )
    else:
        when = f"Taken at {_stamp(bundle.taken_at)} UTC in {bundle.took_s:.2f} s"
        parts.append(f"{when}, before instance {bundle.instance} was ended.")
        if report.spot is not None:
            parts += [
                "",
                f"It hung in `{_code(place(report.spot))}` ({_text(report.spot.file)}, process {report.spot.pid}).",
            ]
        for process in bundle.processes[: limits.STACKED_PROCESSES_MAX]:
            parts += _process(process)
        if bundle.processes_total > limits.STACKED_PROCESSES_MAX:
            parts += [
                "",
                f"{bundle.processes_total} processes in all; the others are in {report.incident.id}.evidence.json.",
            ]
    return [*parts, *([""] if gaps else []), *(f"- not to be had: {_text(gap)}" for gap in gaps)]


def _process(process: Process) -> list[str]:
    share = "" if process.cpu_share is None else f", {100 * process.cpu_share:.0f} % of a core"
    uses = (
        f"{size(process.rss_bytes)} resident, {process.threads_total} threads, {process.descriptors_total} open files"
    )
    parts = [
        "",
        f"### Process {process.pid}: {_text(' '.join(process.command) or process.name)}"[
            : limits.BUNDLE_TEXT_MAX_CHARS
        ],
        "",
        f"- state {process.state}{share}, {uses}, {process.age_s:.0f} s old",
        f"- switches: {process.voluntary_switches} voluntary, {process.involuntary_switches} involuntary",
    ]
    for one in process.sockets[:20]:
        silent = "" if one.silent_s is None else f", nothing received for {one.silent_s:.0f} s"
        peer = f"{one.local} to {one.remote}" if one.remote else one.local
        parts.append(f"- {one.kind} {peer} {one.state}{silent}")
    for thread in process.threads[:12]:
        parts += _thread(thread)
    return parts


def _thread(thread: Thread) -> list[str]:
    waits = f" in {thread.wchan}" if thread.wchan else ""
    parts = ["", f"Thread {thread.tid} ({_text(thread.name)}), state {thread.state}{waits}:", ""]
    frames = [
        f"    {_line(one.function)} {_line(one.file)}:{one.line}" for one in thread.frames[: limits.POSTMORTEM_FRAMES]
    ]
    return parts + (frames or [f"    kernel: {_line(one)}" for one in thread.kernel_stack[:8]] or ["    no stack"])


def _outcome(outcome: Outcome) -> str:
    if outcome is Outcome.RECOVERED:
        return "recovered without a person"
    if outcome is Outcome.ESCALATED:
        return "needs a person; Holdfast goes on trying quietly"
    return "still open"


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}"


def _seconds(value: float | None) -> str:
    return "not yet" if value is None else f"{value:.3f} s"


def _text(text: str) -> str:
    """Words of an agent inside a sentence: one line, and no markup of its own."""
    return printable.one_line(text).replace("<", "&lt;")


def _code(text: str) -> str:
    return printable.one_line(text).replace("`", "'")


def _line(text: str) -> str:
    return printable.log_line(text.replace("\n", " ")).replace("\t", "    ")
