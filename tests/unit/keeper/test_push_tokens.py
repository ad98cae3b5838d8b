"""Tokens are kept before they are given out, and many of them by one write."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.home import Home
from holdfast.keeper.watching import pushes
from holdfast.keeper.watching.pushes import FILE, Door


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []
    real = pushes.write_atomic

    def write(path: Path, data: bytes) -> None:
        seen.append(path)
        real(path, data)

    monkeypatch.setattr(pushes, "write_atomic", write)
    return seen


def kept(home: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((home / FILE).read_text())["tokens"]
    return found


def test_many_tokens_are_drawn_and_dropped_by_one_write_each(
    tmp_path: Path, writes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PUSH_DROPPED_S", 0.01)
    names = [f"agent-{number}" for number in range(100)]

    async def check() -> None:
        door = Door(Home(tmp_path))
        door.draw(names)
        assert len(writes) == 1
        assert kept(tmp_path) == door.tokens
        assert door.owner(door.token("agent-7")) == "agent-7"
        assert len(writes) == 1
        tokens = dict(door.tokens)
        for name in names[1:]:
            door.drop(name)
        assert door.owner(tokens["agent-7"]) is None
        async with asyncio.timeout(10.0):
            while list(kept(tmp_path)) != ["agent-0"]:
                await asyncio.sleep(0.005)
        assert len(writes) == 2
        door.drop("agent-0")
        door.close()  # what waits is written before we leave
        assert kept(tmp_path) == {}

    asyncio.run(check())


def test_a_token_that_cannot_be_kept_is_given_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pushes, "write_atomic", full)
    door = Door(Home(tmp_path))
    with pytest.raises(OSError):
        door.draw(["one", "two"])
    assert door.tokens == {}
