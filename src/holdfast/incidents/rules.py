"""The rules of causes.py, in the order in which they are believed. Pure; each is tested by a table.

What the kernel or the machine said comes first, then what the program said of itself, then where it was stuck, then
what only happened before. A new rule needs a name that stays: it is part of the fingerprint of incidents.
"""

from __future__ import annotations

import re
import signal

from holdfast import limits
from holdfast.incidents import memory_death, stuck
from holdfast.incidents.causes import Case, Found, Rule, from_log, log_lines
from holdfast.sizes import counted, size

_PROVIDER = re.compile(
    r"(?i)\b429\b.{0,60}(?:too many|rate|quota|limit|error)|rate.?limit(?:ed|_error| exceeded| reached)"
    r"|overloaded_error"
    r"|(?:status|http|error|code)[^\n]{0,20}\b5(?:00|02|03|04|29)\b|(?:read|connect\w*|request) ?time(?:d)?[ -]?out"
    r"|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|Temporary failure in name resolution"
    r"|Name or service not known"
    r"|APIConnectionError|APITimeoutError|RateLimitError|InternalServerError|ServiceUnavailable"
)
_ERROR_LINE = re.compile(r"^\s*(?:Uncaught )?(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)\b.*")
_CONNECTION = re.compile(r"(?i)connect|refused|unreachable|timed? ?out|reset by peer|resol(?:ve|ution)|broken ?pipe")
_TOLD = re.compile(r"did not behave \((?P<words>(?:push: it reported|command: |function: |log: /).*?)\)?", re.DOTALL)
_CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGTRAP", "SIGSYS", "SIGXCPU", "SIGXFSZ"})


def _node_cause(case: Case) -> Found | None:
    told = getattr(case.incident, "agents", ())
    if not told:
        return None
    return Found(case.incident.cause, [case.incident.cause, f"agents hit: {', '.join(list(told)[:20])}"])


def _memory_limit(case: Case) -> Found | None:
    facts, memory = case.facts, case.facts.memory
    victims = [each for each in facts.kernel.victims if not each.whole_machine]
    if not victims and not (facts.exit and facts.exit.oom):
        return None
    lines = [
        f"the kernel killed {each.name} (process {each.pid}, {size(each.anon_bytes)} of its own)" for each in victims
    ]
    if memory.oom_kills:
        processes = counted(memory.oom_kills, "process", "processes")
        lines.append(f"memory.events: {processes} killed for memory in this instance's life")
    if memory.peak_bytes is not None:
        lines.append(f"peak {size(memory.peak_bytes)}")
    died_at = facts.exit.at if facts.exit is not None else case.incident.opened_at
    told = memory_death.words(memory, died_at)
    return Found(f" ({told})" if told else "", lines or [facts.exit.words if facts.exit else "killed for memory"])


def _memory_lease(case: Case) -> Found | None:
    """The limit that it died at was not declared: it is what others left it."""
    if not case.facts.memory.lease_bytes or any(each.whole_machine for each in case.facts.kernel.victims):
        return None
    return _memory_limit(case)


def _kernel_oom(case: Case) -> Found | None:
    victims = [each for each in case.facts.kernel.victims if each.whole_machine]
    if not victims:
        return None
    lines = [
        f"the kernel killed {each.name} (process {each.pid}) because the machine was out of memory" for each in victims
    ]
    lines += [f"{name} (process {pid}) held {size(held)}" for name, pid, held in case.facts.kernel.biggest[:3]]
    return Found("", lines)


def _port_taken(case: Case) -> Found | None:
    if case.facts.taken:
        return Found(case.facts.taken, [case.facts.taken])
    return from_log(r"(?i)EADDRINUSE|address already in use")(case)


def _config(case: Case) -> Found | None:
    end = case.facts.exit
    if end is None or end.code is None or end.code not in case.facts.asks:
        return None
    said = log_lines(case, re.compile(r"(?i)config|invalid|unknown key|parse|schema|yaml|toml|json"))
    return Found(f"exit {end.code}", [end.words or f"exit {end.code}", *said])


def _missing(case: Case) -> Found | None:
    end = case.facts.exit
    if end is not None and end.code in (126, 127):
        return Found(f"exit {end.code}", [end.words or f"exit {end.code}"])
    return from_log(
        r"ModuleNotFoundError|No module named|ImportError: |Cannot find (?:module|package)|ERR_MODULE_NOT_FOUND"
        r"|FileNotFoundError|ENOENT|[Nn]o such file or directory|error while loading shared libraries"
    )(case)


def _descriptors(case: Case) -> Found | None:
    said = from_log(r"EMFILE|ENFILE|[Tt]oo many open files")(case)
    if said is not None:
        return said
    bundle = case.facts.bundle
    for process in bundle.processes if bundle else ():
        most = process.limits.get("Max open files", "")
        if most.isdecimal() and int(most) and process.descriptors_total >= int(most) * limits.DESCRIPTORS_FULL_SHARE:
            told = f"process {process.pid} has {process.descriptors_total} of {most} files and sockets open"
            return Found(told, [told])
    return None


def _stopped(case: Case) -> Found | None:
    main = stuck.main_process(case.facts.bundle)
    if main is None or main.state not in ("T", "t"):
        return None
    return Found("", [f"process {main.pid} ({main.name}) was in state {main.state}: stopped by a signal or a debugger"])


def _disk_wait(case: Case) -> Found | None:
    held = stuck.threads_in(case.facts.bundle, "D")
    if not held:
        return None
    _, thread = held[0]
    where = thread.wchan or (thread.kernel_stack[0] if thread.kernel_stack else "the kernel")
    lines = [
        f"thread {each.tid} of {owner.name} in state D at {each.wchan or 'an unknown place'}" for owner, each in held
    ]
    return Found(where, [*lines[:4], *(f"kernel: {line}" for line in thread.kernel_stack[:2])])


def _deadlock(case: Case) -> Found | None:
    for process in case.facts.bundle.processes if case.facts.bundle else ():
        if process.threads_total > 1 and stuck.all_wait_for_locks(process):
            frames = [stuck.own_frame(thread.frames) for thread in process.threads if thread.frames]
            lines = [f"waits for a lock in {one.function} ({one.file}:{one.line})" for one in frames if one]
            return Found(_where(case), [f"all {process.threads_total} threads wait for locks", *lines[:5]])
    return None


def _network_read(case: Case) -> Found | None:
    for process in case.facts.bundle.processes if case.facts.bundle else ():
        thread = stuck.reads_network(process)
        silent = stuck.silent_sockets(process)
        if thread is not None and silent:
            oldest = silent[0]
            waits = f"{oldest.remote} silent for {oldest.silent_s:.0f} s"
            inner = thread.frames[0].function if thread.frames else thread.wchan
            return Found(f"{_where(case)}: {waits}", [f"thread {thread.tid} waits in {inner}", waits])
    return None


def _provider(case: Case) -> Found | None:
    lines = log_lines(case, _PROVIDER, last=25)
    if lines:
        return Found(lines[-1].strip()[:160], lines)
    for process in case.facts.bundle.processes if case.facts.bundle else ():
        for thread in process.threads:
            inner = {frame.function.rpartition(".")[2] for frame in thread.frames[:6]}
            asked = inner & stuck.NETWORK_FUNCTIONS
            if asked:
                peers = sorted({each.remote for each in process.sockets if each.remote})[:3]
                told = f"thread {thread.tid} was in {sorted(asked)[0]}"
                return Found(told, [told, *(f"connected with {peer}" for peer in peers)])
    return None


def _busy_loop(case: Case) -> Found | None:
    for process in case.facts.bundle.processes if case.facts.bundle else ():
        frame = stuck.same_twice(process)
        if frame is not None and (process.cpu_share or 0.0) >= limits.SPIN_CPU_SHARE:
            where = f"{frame.function} ({frame.file.rpartition('/')[2]}:{frame.line})"
            share = f"process {process.pid} used {100 * (process.cpu_share or 0.0):.0f} % of a core"
            return Found(where, [share, f"in {where} in both samples"])
    return None


def _dependency(case: Case) -> Found | None:
    """What it said of its own end comes first, unless that is about a connection."""
    if not case.facts.waits_on or _crash(case):
        return None
    if _own_error(case) and not log_lines(case, _CONNECTION):
        return None
    return Found(", ".join(case.facts.waits_on), list(case.facts.waits_on))


def _crash(case: Case) -> Found | None:
    end = case.facts.exit
    if end is None or end.signal is None:
        return None
    try:
        name = signal.Signals(end.signal).name
    except ValueError:
        return None
    return Found(end.words or name, [end.words or name]) if name in _CRASHES else None


def _own_error(case: Case) -> Found | None:
    end = case.facts.exit
    if end is None or not end.code:
        return None
    lines = log_lines(case, _ERROR_LINE)
    return Found(lines[-1].strip()[:160], [end.words, *lines]) if lines else None


def _changed(case: Case) -> Found | None:
    since = case.incident.opened_at - limits.CHANGED_JUST_BEFORE_S
    # A process that ended by itself did not do so because it is watched in another way.
    innocent = ("boot", "care", "watch") if case.facts.exit and not case.facts.hung else ("boot", "care")
    changes = [one for one in case.facts.changes if one.what not in innocent]
    late = [one for one in changes if since <= one.at <= case.incident.opened_at + 1]
    return Found(late[-1].text, [one.text for one in late]) if late else None


def _hung(case: Case) -> Found | None:
    if not case.facts.hung or stuck.spot(case.facts.bundle) is None:
        return None
    return Found(_where(case), [f"its stack when it was killed: {_where(case)}"])


def _not_started(case: Case) -> Found | None:
    """No instance of it came to be, and whoever tried said why."""
    head, found, why = case.incident.cause.partition("could not be started: ")
    return (
        Found(why.rstrip("."), [case.incident.cause])
        if found and not head and why and case.facts.exit is None
        else None
    )


def _reported(case: Case) -> Found | None:
    """A source that somebody set up to say so: a push, a command, a line of its log, a question of its recipe."""
    told = _TOLD.fullmatch(case.incident.cause)
    return Found(told["words"].rstrip("."), [case.incident.cause]) if told and case.facts.exit is None else None


def _exit_words(case: Case) -> Found | None:
    end = case.facts.exit
    if end is None or (end.code is None and end.signal is None) or not end.words:
        return None
    return Found(end.words, [end.words])


def _where(case: Case) -> str:
    found = stuck.spot(case.facts.bundle)
    return stuck.place(found) if found else "an unknown function"


RULES: tuple[Rule, ...] = (
    Rule("node", "certain", "One cause on the machine hit several agents: {words}.", _node_cause),
    Rule("not-started", "certain", "It could not be started: {words}.", _not_started),
    Rule("memory-lease", "certain", "Memory was short, and the kernel killed it at its ceiling{words}.", _memory_lease),
    Rule("memory-limit", "certain", "It reached its memory limit{words} and the kernel killed it.", _memory_limit),
    Rule("kernel-oom", "certain", "The machine ran out of memory and the kernel killed it.{words}", _kernel_oom),
    Rule("port-taken", "certain", "It could not use its port: {words}.", _port_taken),
    Rule("config", "likely", "It refused its configuration ({words}).", _config),
    Rule("disk-full", "certain", "The disk is full: {words}", from_log(r"ENOSPC|[Nn]o space left on device|EDQUOT")),
    Rule("descriptors", "certain", "It ran out of file descriptors: {words}", _descriptors),
    Rule("missing", "likely", "Something it needs is not there: {words}", _missing),
    Rule(
        "auth",
        "likely",
        "Its credentials were refused: {words}",
        from_log(
            r"(?i)\b(?:401|403)\b.{0,40}(?:unauthori|forbidden|error|invalid|denied)|(?:http|status|code|error)[^\n]{0,16}"
            r"\b(?:401|403)\b|unauthorized|authentication_error|AuthenticationError|invalid[ _](?:x-)?api[ _-]?key",
            last=25,
        ),
    ),
    Rule("stopped", "certain", "It was stopped (as by SIGSTOP) and did nothing.{words}", _stopped),
    Rule(
        "disk-wait", "likely", "It was stuck in the kernel, waiting for a disk or a file system ({words}).", _disk_wait
    ),
    Rule("deadlock", "likely", "All its threads wait for locks, which looks like a deadlock: {words}.", _deadlock),
    Rule("network-read", "likely", "It waited for an answer without a time-out in {words}.", _network_read),
    Rule("busy-loop", "likely", "It was busy in one function and did nothing else: {words}.", _busy_loop),
    Rule("provider", "likely", "A service it needs was down or refused it: {words}", _provider),
    Rule("dependency", "possible", "What it depends on was not well: {words}.", _dependency),
    Rule("hung", "likely", "It hung in {words}.", _hung),
    Rule("reported", "likely", "It was reported to be sick: {words}.", _reported),
    Rule("crash", "certain", "Its program crashed: {words}.", _crash),
    Rule("own-error", "likely", "It ended with an error of its own: {words}", _own_error),
    Rule("changed", "possible", "It failed soon after a change: {words}.", _changed),
    Rule("exit", "possible", "Its process ended: {words}.", _exit_words),
)
