"""The README's tour does what it says, word for word, for a user without rights in an empty home."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tour import matching, reading
from tests.tour.reader import CannotPlay, TourReader, stacks_can_be_read

ROOT = Path(__file__).resolve().parents[2]
TITLE = "The ten-minute tour"
PORT = 18437  # web.py's, in the README
TRIES_OF_A_DRILL = 2  # it measures time, and a machine may be busy with something else
STARVED = "the machine was starved meanwhile"  # so says a drill whose times mean nothing
SLOW = "waiting for Holdfast in "  # said where a start takes long, and only there
NEEDS_STACKS = "stuck_here"  # output that names it needs the kernel's leave


@pytest.fixture
def reader() -> Iterator[TourReader]:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"somebody else listens on port {PORT}")
    try:
        found = TourReader()
    except CannotPlay as lack:
        pytest.skip(str(lack))
    try:
        yield found
    finally:
        found.close()


@pytest.mark.timeout(1200)
def test_the_tour_of_the_readme_is_true_word_for_word(reader: TourReader) -> None:
    document = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f":{PORT}/" in document
    for step in reading.steps(reading.section(document, TITLE)):
        if isinstance(step, reading.Write):
            reader.write(step.name, step.text, more=step.more)
        else:
            _follow(reader, step)
    assert reader.left() == [], "the tour ends with everything stopped"


def _follow(reader: TourReader, step: reading.Run) -> None:
    """Type the commands of one block, and compare what they print with what is told."""
    printed = ""
    for command in step.commands:
        code, output = reader.run(command.line)
        if "holdfast drill" in command.line:
            for _ in range(1, TRIES_OF_A_DRILL):
                if code == command.exit_code and STARVED not in output:
                    break
                code, output = reader.run(command.line)
        assert code == command.exit_code, f"$ {command.line}\n{output}exit code {code}, not {command.exit_code}"
        printed += "".join(line for line in output.splitlines(True) if not line.startswith(SLOW))
    if step.output is None or STARVED in printed or (NEEDS_STACKS in step.output and not stacks_can_be_read()):
        return
    lines = "\n".join(f"$ {command.line}" for command in step.commands)
    if not matching.matches(step.output, printed):
        pytest.fail(f"{lines}\n{printed}\n-- is not what the README tells:\n{step.output}")
