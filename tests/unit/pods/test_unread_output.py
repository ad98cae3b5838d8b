"""What an agent said last outlives the agent's place until it was read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.home import Home
from holdfast.pods import places


@pytest.mark.parametrize(("said", "stays"), [(b"last words\n", True), (b"", False)])
def test_a_fifo_keeps_its_name_while_something_in_it_is_unread(tmp_path: Path, said: bytes, stays: bool) -> None:
    home = Home(tmp_path / "h")
    home.prepare()
    fifo = home.agent_fifo("a")
    fifo.parent.mkdir()
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    os.write(holder, said) if said else None
    places.remove(home, "a")
    assert fifo.exists() is stays
    os.close(holder)
