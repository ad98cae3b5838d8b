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
TRIES_OF_A_DRILL = 3  # it measures time, and a machine may be busy with something else
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


@pytest.mark.timeout(300)
def test_the_tour_of_the_readme_is_true_word_for_word(reader: TourReader) -> None:
    document = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f":{PORT}/" in document
    told = stacks_can_be_read()
    for step in reading.steps(reading.section(document, TITLE)):
        if isinstance(step, reading.Write):
            reader.write(step.name, step.text, more=step.more)
            continue
        printed = ""
        for command in step.commands:
            for _ in range(TRIES_OF_A_DRILL if "holdfast drill" in command.line else 1):
                code, output = reader.run(command.line)
                if code == command.exit_code:
                    break
            assert code == command.exit_code, f"$ {command.line}\n{output}exit code {code}, not {command.exit_code}"
            printed += output
        if step.output is not None and (told or NEEDS_STACKS not in step.output):
            lines = "\n".join(f"$ {command.line}" for command in step.commands)
            assert matching.matches(step.output, printed), f"{lines}\n{printed}\n-- is not what is told:\n{step.output}"
    assert reader.left() == [], "the tour ends with everything stopped"
