"""A narrow terminal shows the IDs whole: the next command needs them."""

from __future__ import annotations

from holdfast.cli.incidents import DROPPED_FIRST, HEADERS, ID_WIDTH
from holdfast.cli.render import table

ID = "20261121-0a1b2c3d"
ROW = (ID, "assistant", "recovered", "0.1s", "2.4s", "1,2", "12", "13:20:11", "It hung in read (socket.py:12).")


def test_ids_are_shown_whole_whatever_the_width() -> None:
    for width in (40, 60, 80, 120):
        lines = table(HEADERS, [ROW], width=width, drop=DROPPED_FIRST, first_min=ID_WIDTH)
        assert any(ID in line for line in lines)
        assert all(len(line) <= width for line in lines)
    assert "assistant" in lines[1]
