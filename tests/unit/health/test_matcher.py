"""Reading new lines and searching them, with regular expressions that go wild."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.health import matcher
from holdfast.health.matcher import Matcher


@pytest.fixture(autouse=True)
def _budget() -> Iterator[None]:
    before = signal.signal(signal.SIGVTALRM, matcher._too_slow)
    yield
    signal.signal(signal.SIGVTALRM, before)


class Log:
    def __init__(self, directory: Path, *patterns: str) -> None:
        self.path, self.patterns, self.matcher = directory / "log", list(patterns), Matcher()

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def look(self, instance: int = 1) -> dict[str, Any]:
        return self.matcher.turn(
            {"id": 1, "agent": "a", "instance": instance, "path": str(self.path), "patterns": self.patterns}
        )


def test_only_what_comes_after_the_first_look_is_searched(tmp_path: Path) -> None:
    log = Log(tmp_path, "error")
    log.write(b"an old error\n")
    assert log.look()["hits"] == [0]
    log.write(b"an error\nfine\nERROR\n")
    found = log.look()
    assert (found["lines"], found["hits"], found["quotes"]) == (True, [1], ["an error"])
    assert log.look()["lines"] is False


def test_a_new_instance_does_not_answer_for_the_words_of_the_one_before(tmp_path: Path) -> None:
    log = Log(tmp_path, "error")
    log.look()
    log.write(b"an error\n")
    assert log.look(instance=2)["hits"] == [0]
    log.write(b"an error\n")
    assert log.look(instance=2)["hits"] == [1]


def test_a_line_is_searched_when_its_end_is_there(tmp_path: Path) -> None:
    log = Log(tmp_path, "^two words$")
    log.write(b"")
    log.look()
    log.write(b"two ")
    assert log.look()["lines"] is False
    log.write(b"words\n")
    assert log.look()["hits"] == [1]


def test_our_own_notices_are_no_lines_of_the_agent(tmp_path: Path) -> None:
    log = Log(tmp_path, "dropped")
    log.write(b"")
    log.look()
    log.write(b"holdfast: 12 bytes dropped, disk full\n")
    found = log.look()
    assert (found["lines"], found["hits"]) == (False, [0])


def test_a_log_that_was_rotated_is_read_to_its_end_and_then_the_new_one(tmp_path: Path) -> None:
    log = Log(tmp_path, "error")
    log.write(b"")
    log.look()
    log.write(b"an error at the end\n")
    log.path.rename(tmp_path / "log.1")
    log.write(b"an error at the beginning\n")
    assert log.look()["hits"] == [2]


def test_a_flood_is_searched_at_its_end_and_the_rest_is_told(tmp_path: Path) -> None:
    log = Log(tmp_path, "error")
    log.write(b"")
    log.look()
    log.write(b"x" * 99 + b"\n" * 1 + b"error\n" + b"y" * (2 * matcher.TURN_BYTES) + b"\nan error\n")
    found = log.look()
    assert found["skipped"] > matcher.TURN_BYTES
    assert found["hits"] == [1]


def test_an_expression_that_goes_wild_is_given_up_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matcher, "PATTERN_CPU_S", 0.05)
    log = Log(tmp_path, r"(a+)+$", "b$")
    log.write(b"")
    log.look()
    log.write(b"a" * 3000 + b"b\n")
    found = log.look()
    assert (found["slow"], found["hits"]) == ([0], [0, 1])
    log.write(b"a" * 3000 + b"b\n")
    assert log.look()["hits"] == [0, 1]


def test_a_log_that_is_not_there_yet_is_found_when_it_comes(tmp_path: Path) -> None:
    log = Log(tmp_path, "error")
    assert log.look()["lines"] is False
    log.write(b"an error\n")
    assert log.look()["hits"] == [1]
