"""The rule table: one case for each rule, what is unknown stays unknown, and who is believed first."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.evidence.kernel_log import KernelStory, Victim
from holdfast.evidence.model import Bundle, Frame, Process, Socket, Thread
from holdfast.incidents import causes, rules, stuck
from holdfast.incidents.causes import Case, Verdict
from holdfast.incidents.facts import Change, ExitFacts, Facts, MemoryFacts
from tests.unit.incidents.test_incident_records import make

OPENED = 1_700_000_000.25
STUCK = (
    Frame(function="stuck_here", file="/srv/agent.py", line=12),
    Frame(function="main", file="/srv/agent.py", line=40),
)
WAITS = (Frame(function="readinto", file="/usr/lib/python3.11/socket.py", line=706), *STUCK)
LIBRARY = "/usr/lib/python3.11/threading.py"


def judge(*lines: str, facts: Facts | None = None, **changes: Any) -> Verdict:
    incident = make(log_lines=lines, **changes)
    return causes.judge(Case(incident, facts or Facts()), rules.RULES)[0]


def died(code: int | None = None, signal: int | None = None, *, oom: bool = False, words: str = "") -> Facts:
    return Facts(exit=ExitFacts(instance=1, at=OPENED, code=code, signal=signal, oom=oom, words=words))


def hung(*threads: Thread, **process: Any) -> Facts:
    """A bundle with one process. Its threads are numbered from 100, the main one first."""
    numbered = list(threads)
    for number, thread in enumerate(numbered):
        thread.tid = 100 + number
    shown = Process(pid=100, name="python", state="S", threads=tuple(numbered), threads_total=len(numbered), **process)
    return Facts(
        hung=True, bundle=Bundle(agent="scout", instance=1, main_pid=100, processes=(shown,), processes_total=1)
    )


def sleeping(frames: tuple[Frame, ...] = STUCK, **more: Any) -> Thread:
    return Thread(tid=0, state="S", frames=frames, **more)


def locked(frames: tuple[Frame, ...] = STUCK) -> Thread:
    return sleeping(frames, wchan="futex_do_wait", waits_for_lock=True)


OLD = Socket(fd=4, kind="tcp", local="10.0.0.1:40000", remote="10.0.0.2:443", state="established", silent_s=312.0)
VICTIM = Victim(at=OPENED, pid=77, name="python", group="/node/scout.1", whole_machine=False, anon_bytes=500_000_000)
WHOLE = Victim(at=OPENED, pid=77, name="python", group="/node/scout.1", whole_machine=True)
LEASE = MemoryFacts(lease_bytes=120_000_000, oom_kills=1)
LIMIT = MemoryFacts(limit_bytes=512_000_000, peak_bytes=512_000_000, oom_kills=1)

TABLE: list[tuple[str, tuple[str, ...], Facts, str]] = [
    ("memory-limit", (), Facts(kernel=KernelStory(victims=(VICTIM,)), memory=LIMIT), "512 MB"),
    ("memory-limit", (), died(signal=9, oom=True, words="killed by the kernel"), "memory limit"),
    ("memory-lease", (), Facts(kernel=KernelStory(victims=(VICTIM,)), memory=LEASE), "its lease of 120 MB"),
    ("kernel-oom", (), Facts(kernel=KernelStory(victims=(WHOLE,)), memory=LEASE), "machine ran out of memory"),
    ("kernel-oom", (), Facts(kernel=KernelStory(victims=(WHOLE,))), "machine ran out of memory"),
    ("port-taken", (), Facts(taken="port 80 is held by nginx (process 5)"), "nginx"),
    ("port-taken", ("Error: listen EADDRINUSE: address already in use :::18789",), died(1), "EADDRINUSE"),
    ("config", ("Invalid config at gateway.port",), died(78, words="exit 78: refused its configuration"), "exit 78"),
    ("disk-full", ("OSError: [Errno 28] No space left on device",), died(1), "No space left"),
    ("descriptors", ("OSError: [Errno 24] Too many open files",), died(1), "Too many open files"),
    ("descriptors", (), hung(sleeping(), descriptors_total=1020, limits={"Max open files": "1024"}), "1020 of 1024"),
    ("missing", ("ModuleNotFoundError: No module named 'openai'",), died(1), "openai"),
    ("missing", (), died(127, words="exit 127: the command was not found"), "exit 127"),
    ("auth", ("Error code: 401 - {'error': 'invalid x-api-key'}",), died(1), "401"),
    ("auth", ("HTTP 403 Forbidden",), Facts(), "403"),
    ("stopped", (), hung(sleeping(), program="/usr/bin/python3"), ""),
    ("disk-wait", (), hung(Thread(tid=0, state="D", wchan="nfs_wait_bit_killable")), "nfs_wait"),
    ("deadlock", (), hung(locked(), locked((Frame(function="worker", file="/srv/agent.py", line=3),))), "stuck_here"),
    ("network-read", (), hung(sleeping(WAITS), sockets=(OLD,)), "10.0.0.2:443 silent for 312 s"),
    (
        "network-read",
        (),
        hung(sleeping(kernel_stack=("sk_wait_data+0x1/0x2",)), sockets=(OLD,)),
        "stuck_here (agent.py:12)",
    ),
    ("busy-loop", (), hung(Thread(tid=0, state="R", frames=STUCK, again=STUCK), cpu_share=0.98), "stuck_here"),
    ("provider", ("RateLimitError: Error code: 429 - rate limited",), died(1), "429"),
    ("provider", ("getaddrinfo ENOTFOUND api.example.com",), died(1), "ENOTFOUND"),
    ("provider", ("HTTP status 503 from upstream",), Facts(), "503"),
    ("provider", (), hung(sleeping(WAITS)), "readinto"),
    ("dependency", (), Facts(waits_on=("store is backoff",)), "store is backoff"),
    ("hung", (), hung(sleeping()), "stuck_here (agent.py:12)"),
    ("crash", (), died(signal=11, words="SIGSEGV: crashed: invalid memory access (SIGSEGV)"), "invalid memory access"),
    ("own-error", ("RuntimeError: no way",), died(1, words="exit 1"), "no way"),
    ("changed", (), Facts(changes=(Change(at=OPENED - 60, what="spec", text="env.MODEL changed"),)), "env.MODEL"),
    ("exit", (), died(3, words="exit 3: ended with an error of its own"), "exit 3"),
    ("unknown", ("all is well",), Facts(), "unknown"),
]


@pytest.mark.parametrize(
    ("kind", "lines", "facts", "words"), TABLE, ids=[f"{row[0]}-{n}" for n, row in enumerate(TABLE)]
)
def test_each_rule_names_its_cause_and_shows_what_it_rests_on(
    kind: str, lines: tuple[str, ...], facts: Facts, words: str
) -> None:
    if kind == "stopped" and facts.bundle is not None:
        facts.bundle.processes[0].state = "T"
    found = judge(*lines, facts=facts)
    assert found.kind == kind
    assert words in found.sentence
    assert found.confidence in ("certain", "likely", "possible") or kind == "unknown"
    assert bool(found.because) == (kind != "unknown")


def test_a_cause_on_the_node_names_the_agents_and_comes_first() -> None:
    found = judge(facts=died(signal=11), cause="the disk is full", node="disk:/", agents=("a", "b"))
    assert found.kind == "node"
    assert "a, b" in " ".join(found.because)


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        ("could not be started: web: user hf-web cannot reach /root", "not-started", "hf-web cannot reach /root."),
        ("did not behave (push: it reported a failure)", "reported", "sick: push: it reported a failure."),
        ("did not behave (log: /FATAL/ printed: FATAL (1) here.)", "reported", "printed: FATAL (1) here."),
        ("did not behave (command: exit 2: no answer from the queue)", "reported", "no answer from the queue."),
        ("did not behave (log: no line for 5 min (at most 60 s))", "unknown", "unknown"),
        ("did not behave (push: no success for 5 min)", "unknown", "unknown"),
        ("did not behave (beat: no beat that advanced for 4.7 s (due every 2 s; cycle 3))", "unknown", "unknown"),
    ],
)
def test_what_holdfast_was_told_or_met_itself_is_no_unknown_cause(cause: str, kind: str, words: str) -> None:
    found = judge(cause=cause)
    assert found.kind == kind
    assert words in found.sentence
    assert judge(cause=cause, facts=died(3, words="exit 3")).kind == "exit"  # an end of its own says more
    assert judge(cause=cause, facts=Facts(taken="port 80 is held by nginx")).kind in ("port-taken", "not-started")


def test_every_rule_has_a_case() -> None:
    of_their_own = {"node", "not-started", "reported"}
    assert {rule.name for rule in rules.RULES} == {row[0] for row in TABLE} - {"unknown"} | of_their_own
    assert len({rule.name for rule in rules.RULES}) == len(rules.RULES)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("PermissionError: [Errno 13] Permission denied: '/srv/x'", "own-error"),
        ("StoreError: connection refused by store", "dependency"),
    ],
)
def test_what_it_says_of_its_own_end_comes_before_the_state_of_others(line: str, kind: str) -> None:
    facts = died(1, words="exit 1")
    facts.waits_on = ("store is backoff",)
    assert judge(line, facts=facts).kind == kind


@pytest.mark.parametrize(
    "line",
    [
        "processed 429 items",
        "served 500 requests",
        "listening on port 5003",
        "took 401 ms",
        "GET /users/403 200 OK",
        "keyError handling is tested",
    ],
)
def test_ordinary_lines_accuse_nobody(line: str) -> None:
    assert judge(line).kind == "unknown"


def test_an_old_change_is_not_blamed() -> None:
    assert (
        judge(facts=Facts(changes=(Change(at=OPENED - 90_000, what="spec", text="env.MODEL changed"),))).kind
        == "unknown"
    )


@pytest.mark.parametrize(
    ("what", "ended", "blamed"),
    [("care", False, False), ("care", True, False), ("watch", True, False), ("watch", False, True)],
)
def test_a_change_that_reaches_no_program_is_not_blamed_for_its_end(what: str, ended: bool, blamed: bool) -> None:
    changes = (Change(at=OPENED - 60, what=what, text="restart.at changed"),)
    facts = died(signal=9, words="SIGKILL: killed") if ended else Facts()
    facts.changes = changes
    assert (judge(facts=facts).kind == "changed") is blamed


def test_a_short_silence_is_no_lost_answer() -> None:
    quiet = Socket(fd=4, kind="tcp", remote="10.0.0.2:443", silent_s=3.0)
    assert judge(facts=hung(sleeping(WAITS), sockets=(quiet,))).kind == "provider"


def test_what_else_would_fit_is_kept() -> None:
    first, others = causes.judge(Case(make(log_lines=("RuntimeError: no way",)), died(1, words="exit 1")), rules.RULES)
    assert first.kind == "own-error"
    assert [one.kind for one in others] == ["exit"]


def test_the_agents_own_function_is_named_not_the_librarys() -> None:
    facts = hung(sleeping((Frame(function="wait", file=LIBRARY, line=320), *STUCK)))
    found = stuck.spot(facts.bundle)
    assert found is not None
    assert (found.function, found.inner) == ("stuck_here", "wait")
    assert stuck.place(found) == "stuck_here (agent.py:12)"


def test_an_installed_program_is_named_by_its_packages_not_by_its_launcher() -> None:
    packages = "/opt/hermes/lib/python3.11/site-packages"
    select = Frame(function="select", file="/usr/lib/python3.11/selectors.py", line=468)
    serve = Frame(function="run_gateway", file=f"{packages}/hermes_cli/gateway.py", line=4980)
    main = Frame(function="main", file=f"{packages}/hermes_cli/main.py", line=15315)
    launcher = Frame(function="<module>", file="/opt/hermes/bin/hermes", line=8)
    assert stuck.own_frame((select, serve, main, launcher)) == serve
    script = Frame(function="<module>", file="/srv/agent.py", line=8)
    assert stuck.own_frame((select, serve, script)) == script
    assert stuck.own_frame((select, launcher)) == select


def test_the_main_thread_is_looked_at_first() -> None:
    facts = hung(sleeping(), sleeping((Frame(function="worker", file="/srv/agent.py", line=3),)))
    assert facts.bundle is not None
    facts.bundle.processes[0].threads = facts.bundle.processes[0].threads[::-1]
    found = stuck.spot(facts.bundle)
    assert found is not None
    assert found.function == "stuck_here"
