"""Values as people read them."""

from __future__ import annotations

import pytest

from holdfast.cli import render
from holdfast.cli.fleet_view import changes
from tests.unit.cli.fake_keeper import agent, status


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-1, "-"),
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (59.4, "59s"),
        (60, "1m00s"),
        (3599.4, "59m59s"),
        (7260, "2h01m"),
        (200_000, "2d07h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert render.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0B"),
        (999, "999B"),
        (2_048, "2K"),
        (4_100_000, "4.1M"),
        (64_000_000, "64M"),
        (1_400_000_000, "1.4G"),
        (3 * 10**12, "3T"),
    ],
)
def test_sizes(count: int | None, text: str) -> None:
    assert render.size(count) == text


def test_the_last_column_is_wrapped_on_a_terminal_and_whole_elsewhere() -> None:
    rows = [("web", "one two three four five six seven eight nine ten")]
    assert len(render.table(("A", "B"), rows)) == 2
    wrapped = render.table(("A", "B"), rows, width=30)
    assert len(wrapped) > 2
    assert all(len(line) <= 30 for line in wrapped)


def test_without_a_terminal_nothing_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert render.paint("x", "red") == "x"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert render.paint("x", "red") != "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert render.paint("x", "red") == "x"


def test_changes_tell_what_is_new_gone_and_replaced() -> None:
    before = status(agent("web"), agent("old"))
    after = status(agent("web", phase="backoff", pid=None, why="Exited."), agent("new"))
    after["holdfast"]["processes"][2]["pid"] = 999
    lines = changes(before, after)
    assert lines[0].startswith("web: backoff — Exited.")
    assert any(line.startswith("new: healthy pid 4242") for line in lines)
    assert "old: gone" in lines
    assert "holdfast's keeper is back as pid 999" in lines
    assert changes(after, after) == []
