"""No line is lost, doubled, torn or moved when the logger is killed while an agent prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.logger_kills import campaign


def test_twenty_kills_of_the_logger_lose_no_line(tmp_path: Path) -> None:
    outcome = campaign(tmp_path, kills=20, seed=2026)
    print(outcome)
    assert outcome.passed, outcome
    assert outcome.files > 3, "rotation must have happened"


PLANTED = {
    "bytes pass through memory": """
import os, time
del os.splice
real = os.read
def slow_read(fd, count):
    data = real(fd, count)
    time.sleep(0.02)  # so that most kills meet bytes in memory
    return data
os.read = slow_read
""",
    "the log is begun anew at each start": """
from holdfast.logs.capture import Capture
import os
real = Capture._open
def open_empty(self):
    real(self)
    os.ftruncate(self._log, 0)
Capture._open = open_empty
""",
    "rotation overwrites the file before": """
from holdfast.logs import rotation
import os
def rotate(directory, files, step):
    os.rename(rotation.path_of(directory, 0), rotation.path_of(directory, 1))
rotation.rotate = rotate
""",
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_the_campaign_catches_a_planted_bug(planted: str, tmp_path: Path) -> None:
    for attempt in range(12):  # one campaign is short enough to miss it
        place = tmp_path / str(attempt)
        place.mkdir()
        if not campaign(place, kills=12, seed=attempt, planted=planted).passed:
            return
    raise AssertionError("the campaign did not notice")
