"""No line is lost, doubled, torn or moved when the logger is killed while an agent prints."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.logger_kills import campaign


def test_twenty_kills_of_the_logger_lose_no_line(tmp_path: Path) -> None:
    outcome = campaign(tmp_path, kills=20, seed=2026)
    print(outcome)
    assert outcome.passed, outcome
    assert outcome.files > 3, "rotation must have happened"
