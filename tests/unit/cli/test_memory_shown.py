"""Memory as `ps`, `top`, `describe` and `capacity` show it: at any width, with everything known and with nothing."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from holdfast.cli.capacity import capacity_lines
from holdfast.cli.describe_memory import memory_pairs
from holdfast.cli.fleet_view import memory_text, node_line, phase_text, shed_text, status_lines
from holdfast.cli.top_frame import Seen, frame, plain
from holdfast.cli.top_memory import MARKS, bar, shares
from holdfast.cli.top_view import View
from holdfast.printable import columns
from tests.unit.cli.fake_keeper import agent, status

MB = 1_000_000
NODE = {
    "memory_bytes": 4096 * MB, "reserve_bytes": 328 * MB, "budget_bytes": 3400 * MB, "agents_bytes": 1200 * MB,
    "leased_bytes": 1600 * MB, "free_bytes": 1800 * MB, "queued": 2, "neighbours": ["mysqld (uid 112) holds 900 MB"],
}  # fmt: skip
LEASED = agent("web", usage_bytes=200 * MB, lease_bytes=260 * MB, shed_order=1)
KEPT = agent("main", usage_bytes=900 * MB, lease_bytes=950 * MB, protected=True)
SLEEPS = agent("quiet", asleep="frozen", usage_bytes=10 * MB, lease_bytes=26 * MB, saved_bytes=80 * MB, wake_s=0.05)
SHED = agent("batch", phase="shed", pid=None, rss_bytes=None)


def full() -> dict[str, Any]:
    return {**status(LEASED, KEPT, SLEEPS, SHED), "node": NODE}


def test_ps_shows_use_and_lease_who_sleeps_and_who_goes_first(cli: Any, keeper: Any) -> None:
    keeper.routes["GET", "/v1/status"] = (200, full())
    done = cli("ps", "-o", "wide")
    assert "200M/260M" in done.out
    assert "healthy, asleep" in done.out
    assert "memory: 1.2G in use, 1.6G of 3.4G leased; web goes first if more is needed\n" in done.out
    assert done.code == 3  # one is shed
    assert [shed_text(row) for row in full()["agents"]] == ["1", "kept", "-", "-"]


@pytest.mark.parametrize(("phase", "code"), [("hibernating", 0), ("spare", 0), ("shed", 3)])
def test_who_is_aside_because_it_is_not_needed_is_well(cli: Any, keeper: Any, phase: str, code: int) -> None:
    keeper.routes["GET", "/v1/status"] = (200, status(agent(phase=phase, pid=None)))
    assert cli("ps").code == code


def test_without_leases_everything_is_as_before() -> None:
    assert memory_text(agent()) == "12M"
    assert phase_text(agent()) == "healthy"
    assert node_line(status(agent())) == ""
    assert [pair for pair in memory_pairs(agent()) if pair[1]] == [("was seen", "not for long enough yet")]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_ps_and_top_fit_their_terminal_with_all_of_memory_in_them(width: int) -> None:
    assert all(columns(line) <= width for line in status_lines(full(), width))
    text = plain(frame(View(selected="web"), Seen(full()), width, 24))
    assert all(columns(line) <= width for line in text.split("\n"))
    assert "agents 1.2G of 4.1G  free 1.8G" in text
    assert ("first to go web" in text) == (width >= 80)
    assert ("SHED" in text) == (width >= 80)


def test_the_bar_is_always_as_long_as_it_has_to_be_and_hides_nobody() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    drawn = random.Random(seed)
    for _ in range(500):
        node = {name: drawn.choice([0, 1, drawn.randrange(1 << 34)]) for name in NODE if name.endswith("bytes")}
        node["free_bytes"] = drawn.randrange(-(1 << 30), 1 << 34)
        node["memory_bytes"] += 1
        parts = shares(node)
        assert min(parts) >= 0
        pieces = bar(parts, 30)
        assert len("".join(text for text, _ in pieces)) == (30 if sum(parts) else 0)
    assert [text for text, _ in bar((1, 1, 1, 1, 10**12), 10)] == [mark for mark, _ in MARKS[:4]] + [MARKS[4][0] * 6]


def test_describe_tells_all_of_an_agents_memory(cli: Any, keeper: Any) -> None:
    known = {
        **LEASED, "ceiling_bytes": 255 * MB, "start_lease_bytes": 300 * MB, "shed_order": 3,
        "queued": {"position": 2, "why": "needs 300 MB", "estimate_s": 12.0},
        "replica": {"group": "crew", "number": 3, "wanted": 2}, "asleep": "frozen", "saved_bytes": 80 * MB,
        "wake_s": 0.1, "spec": {"memory": {"min_bytes": 100 * MB}, "idle": {"action": "freeze", "after_s": 900}},
        "seen": {"readings": 40, "worked": True, "work_bytes": 212 * MB, "cpu": 0.2, "start_peak_bytes": 300 * MB},
    }  # fmt: skip
    keeper.routes["GET", "/v1/agents/web"] = (200, known)
    out = cli("describe", "web").out
    for words in (
        "200M that cannot be dropped", "260M are kept for it; the kernel holds it at 255M",
        "300M kept until it is ready", "100M are never taken from it",
        "212M or less in 95 of 100 readings (at work), 0.20 cores on average",
        "took 300M at their peak", "2 go before it", "number 2, starts in about 12s: needs 300 MB",
        "frozen, gave back 80M", "frozen after 15m00s", "took 0.1s", "3 of crew, 2 run now",
    ):  # fmt: skip
        assert words in out


def test_describe_says_what_the_kernel_does_not_hold() -> None:
    told = dict(memory_pairs({**LEASED, "unheld": "its memory cgroup is gone"}))
    assert told["lease"] == "260M are kept for it; the kernel does not hold it there: its memory cgroup is gone"


def test_describe_says_why_an_agent_that_may_sleep_is_awake() -> None:
    spec = {"idle": {"action": "freeze", "after_s": 900}}
    told = dict(memory_pairs({**LEASED, "spec": spec, "awake": "it says that it works"}))
    assert told["awake because"] == "it says that it works"
    assert not dict(memory_pairs({**LEASED, "spec": spec})).get("awake because")


CAPACITY = {
    "node_bytes": 4096 * MB, "node_why": "the machine's memory", "reserve_bytes": 328 * MB, "others_bytes": 200 * MB,
    "budget_bytes": 3568 * MB, "counted_bytes": 1000 * MB, "free_bytes": 2568 * MB, "cores": 4.0, "cores_free": 3.4,
    "disk_free_bytes": 50_000 * MB, "notes": ["not seen at work yet: b"],
    "agents": [{"name": "a"}, {"name": "b"}],
    "kinds": [
        {"name": "crew", "recipe": "python", "agents": ["crew-1", "crew-2"], "work_bytes": 200 * MB, "cpu": 0.1,
         "start_bytes": 250 * MB, "disk_bytes": 3 * MB, "readings": 50, "seen": True, "more": 10,
         "limited_by": "memory", "why": "each holds 236 MB when it works, 2568 MB are free"},
        {"name": "openclaw", "recipe": "openclaw", "agents": [], "work_bytes": 975 * MB, "cpu": 0.0,
         "start_bytes": 1300 * MB, "disk_bytes": 0, "readings": 0, "seen": False, "more": 10_000,
         "limited_by": "nothing", "why": ""},
    ],
}  # fmt: skip


def test_capacity_tells_how_many_more_and_marks_what_was_not_seen(cli: Any, keeper: Any) -> None:
    keeper.routes["GET", "/v1/capacity"] = (200, CAPACITY)
    out = cli("capacity").out
    assert "node     4.1G (the machine's memory), 328M in reserve" in out
    assert "3.6G for all of them, 200M held by other software" in out
    assert "1G for 2 agents when all of them work" in out
    crew, claw = (line.split() for line in out.splitlines() if line.startswith(("crew", "openclaw")))
    assert crew[:4] == ["crew", "(of", "2)", "10"]
    assert claw[1:3] == ["10000+", "~975M"]
    assert "note: not seen at work yet: b" in out
    assert json.loads(cli("capacity", "--json", "--for", "crew").out) == CAPACITY
    assert keeper.asked("GET", "/v1/capacity")[-1].query == {"for": "crew"}


@pytest.mark.parametrize("width", [60, 80, 120, 200, None])
def test_capacity_fits_its_terminal(width: int | None) -> None:
    lines = capacity_lines(CAPACITY, width)
    assert width is None or all(columns(line) <= width for line in lines)
    assert any("each holds 236 MB" in line or "236" in line for line in lines)


def test_capacity_of_a_name_that_is_not_there_is_not_found(cli: Any, keeper: Any) -> None:
    assert cli("capacity", "--for", "nosuch").code == 4


@pytest.mark.parametrize("depth", ["x", "-1", "nan", "inf"])
def test_a_queue_takes_a_number_of_tasks_and_says_so(cli: Any, depth: str) -> None:
    done = cli("queue", "crew", "--", depth)
    assert done.code == 2
    assert f"'{depth}' is not a number of waiting tasks: say 0 or more, such as 42" in done.err
