"""What is shown of long work: a bar for a person, lines for a log, nothing for a program."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast import errors
from holdfast.cli import state_progress
from holdfast.cli.session import Session
from holdfast.errors import HoldfastError


@pytest.mark.parametrize(
    ("done", "total", "what", "words"),
    [
        (3 * 10**6, 440 * 10**6, "bytes read", "3M of 440M, bytes read"),
        (3, 12, "reading snapshots", "3 of 12, reading snapshots"),
        (0, 0, "stopping it", "stopping it"),
        (10**6, 0, "", "1M"),
        (0, 0, "", "working"),
        (0, 0, "a\x1b[2Jb", "ab"),
    ],
)
def test_progress_is_told_in_human_units(done: int, total: int, what: str, words: str) -> None:
    assert state_progress.progress_words(done, total, what) == words


def test_a_log_gets_a_line_for_each_stage_and_a_program_none(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        with state_progress.shown(Session(as_json=as_json), "restoring bot") as show:
            for number in range(100):
                show(number, 100, "reading snapshots")
            show(0, 0, "stopping it")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "restoring bot: stopping it\n")


def test_a_terminal_gets_a_bar_that_is_taken_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(state_progress, "BAR_AFTER_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    with state_progress.shown(Session(), "restoring [bot]") as show:
        show(10**6, 2 * 10**6, "fetching")
    out, err = capsys.readouterr()
    assert out == ""
    assert "restoring [bot]" in err


def test_work_that_is_cut_off_is_not_called_a_keeper_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    away = HoldfastError(errors.KEEPER_UNREACHABLE, home="/h")

    def client(*first: dict[str, Any]) -> SimpleNamespace:
        def messages(*_asked: object) -> Iterator[dict[str, Any]]:
            yield from first
            raise away

        return SimpleNamespace(messages=messages)

    for first, code in (((), "HF3001"), (({"progress": {"what": "stopping it"}},), "HF3011")):
        monkeypatch.setattr(Session, "client", lambda _session, first=first: client(*first))
        with pytest.raises(HoldfastError) as caught:
            state_progress.follow(Session(as_json=True), "POST", "/x", {}, "restoring bot")
        assert (caught.value.kind.code, caught.value.kind.exit_code) == (code, 5)
