"""A person's restore: what no snapshot of the former state holds is not thrown away with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from holdfast.healing.model import Ladder
from holdfast.keeper.state.courses import Course
from holdfast.keeper.state.restore_course import Restoration
from holdfast.keeper.state.restore_requests import Requests

SECRET = "/srv/one/secret: it cannot be read: Permission denied"


class Restoring:
    """What Requests needs of it. `exchanged`: the restore as it was when the trees changed places."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.exchanged: list[Restoration] = []

    async def recovered(self, agent: Any, course: Course) -> None: ...

    async def job(self, *_: Any, **__: Any) -> AsyncIterator[dict[str, Any]]:
        built = {"snapshot": "ab" * 16, "at": 1.0, "files": 1, "bytes": 1, "path": self._path, "notes": []}
        yield {"result": built}

    async def exchange(self, agent: Any, course: Course, one: Restoration, *, grace_s: float) -> Restoration:
        self.exchanged.append(one)
        return replace(one, trees=("/srv/.one.holdfast-before-abababababab",))


def replaced(unkept: list[str], path: str) -> tuple[Restoration, list[str]]:
    """(the restore, its warnings) of an agent whose last snapshot could not read `unkept`."""

    async def take(*_: Any) -> dict[str, Any]:
        return {"snapshot": None, "unchanged_since": "cd" * 16, "unkept": unkept}

    state = SimpleNamespace(paths=["/"])
    spec = SimpleNamespace(name="one", state=state, recipe="process", stop=SimpleNamespace(grace_s=1.0))
    agent = SimpleNamespace(name="one", spec=spec, memory=SimpleNamespace(restoration=None), ladder=Ladder())
    clock = SimpleNamespace(now_at=lambda: 61.0)
    keeper = SimpleNamespace(clock=clock, snapshots=SimpleNamespace(take=take))
    restoring = Restoring(path)
    requests = Requests(cast(Any, keeper), cast(Any, restoring))

    async def go() -> list[str]:
        async for message in requests._replace(cast(Any, agent), Course({}), "ab" * 16, path or None):
            if "result" in message:
                return list(message["result"]["warnings"])
        raise AssertionError("no result")

    warnings = asyncio.run(go())
    return restoring.exchanged[0], warnings


@pytest.mark.parametrize(
    ("unkept", "path", "kept"),
    [
        ([], "", False),
        ([SECRET], "", True),
        ([SECRET], "/srv/one", True),
        ([SECRET], "/srv/two", False),
    ],
)
def test_the_former_state_stays_where_a_snapshot_of_it_is_not_whole(unkept: list[str], path: str, kept: bool) -> None:
    one, warnings = replaced(unkept, path)
    assert one.before == "cd" * 16
    assert one.left_behind is kept
    assert [SECRET in text and ".one.holdfast-before-" in text for text in warnings] == [True] * kept
