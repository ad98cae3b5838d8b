"""`top`: what a key does, what a frame holds at any size, and what one frame without a terminal prints."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from holdfast.cli.top_frame import MIN_HEIGHT, MIN_WIDTH, Seen, frame, page, plain, scroll_max
from holdfast.cli.top_view import SORTS, View, press, rows_shown, settled
from holdfast.node.overview import Overview, meminfo, process_use, stall
from holdfast.printable import columns
from tests.unit.cli.fake_keeper import agent, status

ROWS = [
    agent("web", labels={"team": "x"}, usage={"cpu": 1.2, "memory_limit_bytes": 16_000_000}),
    agent("worker-with-a-long-name-of-its-own", phase="escalated", rss_bytes=None, why="evil \x1b[2J words"),
    agent("数据代理", phase="backoff", restarts=3, beat={"idle": True}, rss_bytes=99),
]
NODE = Overview({"cpu": 0.5, "memory": None, "io": 0.0}, 8 << 30, 2 << 30, 1, 100 << 30, 5 << 30, 1.5, 2)


def seen() -> Seen:
    events = [{"at": 1e9 + i, "kind": "agent.exited", "text": f"died {i} \x1b[31m", "seq": i} for i in range(50)]
    known = {**ROWS[0], "spec": {"command": ["x"]}, "outlook": {"budgets": [{"tier": 1, "name": "restart", "left": 1}]}}
    warning = {"code": "HF5001", "message": "nobody would be told", "next": "x"}
    return Seen(
        status(*ROWS, warnings=(warning,)), NODE, [{"name": "keeper", "pid": 1, "rss_bytes": 1, "cpu": 0.5}],
        known, events, ["line \x1b[2J one\t|"] * 40, "12:00:00",
    )  # fmt: skip


def test_every_frame_fits_its_terminal_and_holds_nothing_that_steers_it() -> None:
    views = [
        View(selected="web"),
        View(agent="web"),
        View(agent="web", pane="logs"),
        View(agent="web", pane="describe"),
    ]
    views += [View(agent="gone"), View(asking="web"), View(is_typing=True, filter="zzz"), View(message="m" * 300)]
    for view in views:
        for found in (seen(), Seen(), Seen(status=status())):
            for width in (1, MIN_WIDTH, 40, 57, 80, 120, 250):
                for height in (1, MIN_HEIGHT, 10, 24, 60):
                    lines = frame(view, found, width, height)
                    text = plain(lines)
                    assert len(lines) <= max(height, MIN_HEIGHT)
                    assert all(columns(line) <= max(width, MIN_WIDTH) for line in text.split("\n"))
                    assert text.replace("\n", "").replace("\t", "").isprintable()


def test_forty_columns_still_tell_who_is_how_and_why() -> None:
    text = plain(frame(View(selected="web"), seen(), 40, 24))
    assert "web" in text
    assert "escalated" in text
    assert "All checks pass." in text
    assert "数据代理" in text


def test_a_wide_frame_shows_memory_against_its_limit() -> None:
    text = plain(frame(View(selected="web"), seen(), 160, 24))
    assert "▮▮▮▮▯▯ 12M/16M" in text
    assert "120%" in text
    assert "idle" in text
    assert "disk 5.4G free" in text


def test_one_agent_shows_its_timeline_and_last_lines() -> None:
    text = plain(frame(View(agent="web"), seen(), 100, 24))
    assert "died 49" in text
    assert "last lines:" in text
    assert "line \\x1b[2J one" in text
    back = plain(frame(View(agent="web", scroll=30), seen(), 100, 24))
    assert "died 49" not in back
    assert scroll_max(View(agent="web"), seen(), 100, 24) > 0


def keys(view: View, *pressed: str) -> View:
    for key in pressed:
        view = press(settled(view, rows_shown(view, ROWS)), key, rows_shown(view, ROWS), 10)
    return view


@pytest.mark.parametrize(
    ("pressed", "expected"),
    [
        (("j",), {"selected": ROWS[1]["name"]}),
        (("down", "down", "down"), {"selected": "数据代理"}),
        (("G", "k"), {"selected": ROWS[1]["name"]}),
        (("G", "home"), {"selected": "web"}),
        (("enter",), {"agent": "web", "pane": "timeline"}),
        (("l",), {"agent": "web", "pane": "logs"}),
        (("l", "d"), {"agent": "web", "pane": "describe"}),
        (("l", "escape"), {"agent": ""}),
        (("r",), {"asking": "web", "restart": ""}),
        (("r", "y"), {"asking": "", "restart": "web"}),
        (("r", "n"), {"asking": "", "restart": ""}),
        (("r", "q"), {"asking": "", "restart": "", "is_over": False}),
        (("/", "q", "r"), {"is_typing": True, "filter": "qr", "is_over": False}),
        (("/", "b", "a", "x", "backspace", "enter"), {"is_typing": False, "filter": "ba"}),
        (("/", "b", "escape"), {"is_typing": False, "filter": ""}),
        (("s", "s"), {"sort": "phase"}),
        (("q",), {"is_over": True}),
    ],
)
def test_keys(pressed: tuple[str, ...], expected: dict[str, Any]) -> None:
    view = keys(View(), *pressed)
    assert {name: getattr(view, name) for name in expected} == expected


def test_one_agent_asked_for_by_name_ends_with_escape() -> None:
    assert keys(View(agent="web", pinned=True), "escape").is_over


def test_any_keys_in_any_order_restart_nobody_without_a_yes() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    names = [
        "j",
        "k",
        "enter",
        "escape",
        "r",
        "n",
        "l",
        "d",
        "e",
        "/",
        "s",
        "x",
        "pagedown",
        "end",
        "backspace",
        "Q",
        "q",
    ]
    for _ in range(500):
        view = View(pinned=draw.random() < 0.2)
        for _ in range(30):
            view = replace(keys(view, draw.choice(names)), is_over=False)
            assert not view.restart
            frame(view, seen(), 40, 10)


@pytest.mark.parametrize("sort", SORTS)
def test_every_order_shows_every_agent(sort: str) -> None:
    shown = [row["name"] for row in rows_shown(View(sort=sort), ROWS)]
    assert sorted(shown) == sorted(row["name"] for row in ROWS)
    if sort == "phase":
        assert shown[0] == ROWS[1]["name"]
    if sort == "memory":
        assert shown == ["web", "数据代理", ROWS[1]["name"]]


def test_a_page_leaves_room_for_header_and_footer() -> None:
    assert 1 <= page(View(), seen(), 80, 24) < 24
    assert page(View(), seen(), 20, 1) == 1


def test_without_a_terminal_one_frame_is_printed(cli: Any, keeper: Any) -> None:
    keeper.routes["GET", "/v1/status"] = (200, status(*ROWS))
    done = cli("top")
    assert done.code == 0
    assert "3 agents" in done.out
    assert "escalated" in done.out
    assert "q quit" not in done.out
    assert "\x1b" not in done.out
    answered = json.loads(cli("top", "--json").out)
    assert [row["name"] for row in answered["agents"]] == [row["name"] for row in ROWS]
    assert answered["node"]["cores"] >= 1
    assert cli("top", "ghost").code == 4


def test_the_kernels_texts_are_read_and_missing_ones_are_no_guess() -> None:
    assert stall("some avg10=12.50 avg60=0 total=1\nfull avg10=3.00 avg60=0 total=1\n", "full") == 0.03
    assert stall("", "some") is None
    assert meminfo("MemTotal:  10 kB\nHugePages: x\n") == {"MemTotal": 10240}
    line = "7 (a) b) S " + " ".join(str(i) for i in range(4, 53))
    assert process_use(line, 100, 4096) == (24 * 4096, (14 + 15) / 100)
    assert process_use("", 100, 4096) is None
