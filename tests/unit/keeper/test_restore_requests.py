"""A person's restore: what no snapshot of the former state holds is not thrown away with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from holdfast import limits
from holdfast.healing.model import Ladder
from holdfast.keeper.state.courses import Course
from holdfast.keeper.state.restore_course import Restoration
from holdfast.keeper.state.restore_requests import Requests
from holdfast.keeper.state.restoring import Last
from holdfast.worker.protocol import Fault, JobFailed

Again = Callable[[], Awaitable[dict[str, Any]]]
TREE = "/srv/.one.holdfast-before-abababababab"
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

    async def exchange(
        self, agent: Any, course: Course, one: Restoration, *, grace_s: float, last: Last | None = None
    ) -> Restoration:
        self.exchanged.append(one)
        if last is not None:
            self.exchanged.append(await last(one))
        return replace(self.exchanged[-1], trees=(TREE,))


def replaced(
    unkept: list[str], path: str, *, running: bool = False, again: Again | None = None
) -> tuple[list[Restoration], dict[str, Any]]:
    """(the restore before and after the stop, its result) of an agent whose first snapshot could not read `unkept`.

    `again`: what the snapshot after the stop answers; None: there is to be none.
    """

    async def take(*_: Any) -> dict[str, Any]:
        return {"snapshot": None, "unchanged_since": "cd" * 16, "unkept": unkept}

    async def taking(*_: Any, rested: bool) -> AsyncIterator[dict[str, Any]]:
        assert again is not None
        assert not rested
        yield {"result": await again()}

    state = SimpleNamespace(paths=["/"])
    spec = SimpleNamespace(name="one", state=state, recipe="process", stop=SimpleNamespace(grace_s=1.0))
    ladder = replace(Ladder(), running=running)
    agent = SimpleNamespace(name="one", spec=spec, memory=SimpleNamespace(restoration=None), ladder=ladder)
    clock = SimpleNamespace(now_at=lambda: 61.0)
    keeper = SimpleNamespace(clock=clock, snapshots=SimpleNamespace(take=take, taking=taking))
    restoring = Restoring(path)
    requests = Requests(cast(Any, keeper), cast(Any, restoring))

    async def go() -> dict[str, Any]:
        async for message in requests._replace(cast(Any, agent), Course({}), "ab" * 16, path or None):
            if "result" in message:
                return dict(message["result"])
        raise AssertionError("no result")

    result = asyncio.run(go())
    return restoring.exchanged, result


@pytest.mark.parametrize(
    ("unkept", "path", "kept"),
    [
        ([], "", False),
        ([SECRET], "", True),
        ([SECRET], "/srv/one", True),
        ([SECRET], "/srv/one/secret", True),
        ([SECRET], "/srv/one/secret/below", True),
        ([SECRET], "/srv/two", False),
        ([SECRET] * limits.SNAPSHOT_LISTED_MAX, "/srv/two", True),  # the list may end before it
    ],
)
def test_the_former_state_stays_where_a_snapshot_of_it_is_not_whole(unkept: list[str], path: str, kept: bool) -> None:
    (one,), result = replaced(unkept, path)
    assert one.before == "cd" * 16
    assert one.left_behind is kept
    assert [SECRET in text and TREE in text for text in result["warnings"]] == [True] * kept


def test_what_an_agent_writes_during_the_build_is_kept_when_it_is_down() -> None:
    async def again() -> dict[str, Any]:
        return {"snapshot": {"id": "ef" * 16}}

    (before, after), result = replaced([SECRET], "", running=True, again=again)
    assert before.left_behind  # a keeper that dies in between keeps the former trees
    assert (after.before, after.left_behind) == ("ef" * 16, False)
    assert (result["before"], result["warnings"]) == ("ef" * 16, [])


async def fails() -> dict[str, Any]:
    raise JobFailed(Fault.FULL, "no room")


async def lasts() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError("it never ends")


@pytest.mark.parametrize(("again", "why"), [(fails, "no room"), (lasts, "longer than 0 s")])
def test_the_former_state_stays_where_what_was_written_last_is_in_no_snapshot(
    monkeypatch: pytest.MonkeyPatch, again: Again, why: str
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_WHILE_DOWN_S", 0.0)
    (_, after), result = replaced([], "", running=True, again=again)
    assert (after.before, after.left_behind) == ("cd" * 16, True)
    (warning,) = result["warnings"]
    assert why in warning
    assert TREE in warning
