"""A second place has one writer: an old machine that comes back after a rebuild elsewhere stops sending."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.state.second_place import fence, second_place
from holdfast.state.second_place.fence import Fenced
from holdfast.state.second_place.rebuild import bring_home
from holdfast.state.second_place.upload import Uploaded, bring, standing
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository
from tests.harness.memory_store import MemoryStore
from tests.harness.snapshot_chain import AT, KEY, commit, contents


class Machine:
    def __init__(self, top: Path, disk: Path) -> None:
        self.state, self.disk = top / "state" / "one", disk
        self.made = 0

    def repository(self) -> Repository:
        return Repository.create(LocalStore(self.state / "repo"), "one", KEY, encrypt=True)

    def snapshot(self) -> None:
        self.made += 1
        commit(self.repository(), {"made": f"{self.state} {self.made}".encode()}, at=AT + self.made)

    def send(self) -> Uploaded:
        return bring(self.state, str(self.disk), "one", lambda done, total, what: None, now_at=AT + 1000)


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Machine, Machine]:
    disk = tmp_path / "disk"
    disk.mkdir()
    old, new = (Machine(tmp_path / name, disk) for name in ("old", "new"))
    old.snapshot()
    old.send()
    bring_home(str(disk), "one", new.state)
    return old, new


def test_after_a_rebuild_elsewhere_the_old_machine_stops_and_says_so(machines: tuple[Machine, Machine]) -> None:
    old, new = machines
    there = second_place.open_agent(str(old.disk), "one")
    old.snapshot()
    before = {found.name for found in there.list("")}
    for _ in range(2):
        with pytest.raises(Fenced, match="taken over by another Holdfast"):
            old.send()
    assert {found.name for found in there.list("")} == before
    behind = standing(old.state, AT + 2000)
    assert behind is not None
    assert "taken over" in behind.error
    new.snapshot()
    new.send()
    assert new.send().objects == 0
    repository = Repository.open(there, KEY)
    assert len(repository.snapshots()) == 2
    for one in repository.snapshots():
        contents(repository, one)


def test_who_continues_on_the_old_machine_after_all_takes_it_back(machines: tuple[Machine, Machine]) -> None:
    old, new = machines
    bring_home(str(old.disk), "one", old.state)
    old.snapshot()
    old.send()
    new.snapshot()
    with pytest.raises(Fenced):
        new.send()


def test_of_two_that_take_over_at_once_one_writes(tmp_path: Path) -> None:
    there = MemoryStore()
    homes = [tmp_path / str(number) for number in range(3)]
    for home in homes:
        home.mkdir()
    fence.claim(homes[0], there)

    def other_first(act: str, name: str) -> None:
        there.before_change = lambda act, name: None
        fence.take_over(homes[2], there)

    there.before_change = other_first
    fence.take_over(homes[1], there)
    assert fence.check(homes[2], there)
    there.before_change = lambda act, name: None
    assert fence.check(homes[1], there)  # it was asked for later, and says so at its next look
    for fenced in (homes[0], homes[2]):
        with pytest.raises(Fenced):
            fence.check(fenced, there)


def test_a_place_that_does_not_answer_is_taken_over_later(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _new = machines
    there = MemoryStore()
    fence.claim(old.state, there)

    def away(act: str, name: str) -> None:
        raise StoreError("it does not answer")

    there.before_change = away
    other = old.disk / "other"
    other.mkdir()
    fence.take_over(other, there)
    there.before_change = lambda act, name: None
    assert fence.check(old.state, there)
    assert fence.check(other, there)
    with pytest.raises(Fenced):
        fence.check(old.state, there)
