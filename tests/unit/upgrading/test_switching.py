"""The switch and its way back, killed at every step; what is judged; which wheel and which release is run."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from holdfast import __version__, errors
from holdfast.cli import handing_over
from holdfast.errors import HoldfastError
from holdfast.upgrading import journal, release, switching
from holdfast.upgrading.journal import Side, Upgrade

OLD = Side(services="old", release="", words="the old")
NEW = Side(services="new", release="2-b", words="the new")


class Killed(BaseException):
    """SIGKILL: nothing of ours runs any more."""


class Machine:
    """A Holdfast that runs some code, and a SIGKILL that comes at the n-th thing done."""

    def __init__(self, home: Path, bad: tuple[str, ...] = ()) -> None:
        self.home, self.bad = home, bad
        self.code, self.steps, self.kill_at = "old", 0, -1

    def tick(self) -> None:
        self.steps += 1
        if self.steps == self.kill_at:
            raise Killed

    def healthy(self) -> dict[str, int]:
        self.tick()
        return {"a": 1}

    def renew(self, services: str) -> None:
        self.tick()
        if f"renew {services}" in self.bad:
            raise HoldfastError(errors.RENEW_FAILED, reason="on purpose", home=self.home)
        self.code = services
        self.tick()

    def proven(self, services: str, agents: Mapping[str, int]) -> str:
        self.tick()
        return "not proven" if services in self.bad else ""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "releases" / "2-b").mkdir(parents=True)
    return tmp_path


def current(home: Path) -> str:
    link = home / "releases" / "current"
    return os.readlink(link) if link.is_symlink() else ""


def is_whole(home: Path, machine: Machine) -> bool:
    """One side entirely: the code that runs and the release that commands get."""
    return (machine.code, current(home)) in (("old", ""), ("new", "2-b"))


def kill_at_each_save(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((journal, "save"), (journal, "put_back"), (switching, "point")):
        real = getattr(module, name)

        def around(*arguments: object, real: object = real) -> None:
            machine.tick()
            real(*arguments)  # type: ignore[operator]
            machine.tick()

        monkeypatch.setattr(module, name, around)


@pytest.mark.parametrize("bad", [(), ("new",), ("renew new",)], ids=["good", "unproven", "refused"])
@pytest.mark.parametrize("kill_at", range(1, 22))
def test_killed_at_any_step_the_next_command_makes_it_whole(
    home: Path, monkeypatch: pytest.MonkeyPatch, bad: tuple[str, ...], kill_at: int
) -> None:
    machine = Machine(home, bad)
    kill_at_each_save(machine, monkeypatch)
    machine.kill_at = kill_at
    said: list[errors.ErrorKind] = []
    try:
        switching.switch(home, machine, NEW, OLD, lambda _: None)
    except Killed:
        machine.kill_at = -1
        try:
            switching.settle(home, machine, lambda _: None)
        except HoldfastError as error:
            said.append(error.kind)
    except HoldfastError as error:
        said.append(error.kind)
    assert set(said) <= ({errors.UPGRADE_FAILED} if bad else set())
    assert is_whole(home, machine)
    if bad:
        assert machine.code == "old"
    found = journal.load(home)
    assert found is None or found.step == "done"
    assert not switching.settle(home, machine, lambda _: None)


def test_a_failure_keeps_the_way_back_that_was_there_before(home: Path) -> None:
    earlier = Upgrade(step="done", to=OLD, former=Side(services="older", words="older"))
    journal.save(home, earlier)
    with pytest.raises(HoldfastError):
        switching.switch(home, Machine(home, ("new",)), NEW, OLD, lambda _: None)
    assert journal.load(home) == earlier


def test_when_neither_runs_it_is_said_and_the_next_command_tries_again(home: Path) -> None:
    machine = Machine(home, ("new", "renew old"))
    with pytest.raises(HoldfastError) as caught:
        switching.switch(home, machine, NEW, OLD, lambda _: None)
    assert caught.value.kind is errors.UPGRADE_STUCK
    machine.bad = ()
    assert switching.settle(home, machine, lambda _: None)
    assert is_whole(home, machine)


def test_a_journal_that_cannot_be_read_is_no_absent_one(home: Path) -> None:
    (home / "upgrade.json").write_text("{")
    with pytest.raises(HoldfastError):
        journal.load(home)


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ({"a": 1}, {"a": 1, "b": None}, ""),
        ({}, {"a": 5}, ""),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "restarted meanwhile: b"),
        ({"a": 1}, {"a": None}, "restarted meanwhile: a"),
        ({"a": 1, "b": 2}, {"b": 2}, "no longer known: a"),
    ],
)
def test_agents_that_were_healthy_must_be_the_same_processes(
    before: dict[str, int], now: dict[str, int | None], verdict: str
) -> None:
    assert switching.judge(before, now) == verdict


# --- wheels and releases ---------------------------------------------------------------------------------------------
SIGNS = ("holdfast/init/guard.py", "holdfast/keeper/keeper.py", "holdfast/cli/starting.py")


@pytest.mark.parametrize(
    ("name", "version", "files", "good"),
    [
        ("holdfast", "2.1", SIGNS, True),
        ("holdfast", "2.1", ("holdfast/__init__.py",), False),
        ("other", "2.1", SIGNS, False),
        ("holdfast", "../x", SIGNS, False),
    ],
)
def test_a_wheel_is_seen_to_be_this_project_before_anything_of_it_runs(
    tmp_path: Path, name: str, version: str, files: tuple[str, ...], good: bool
) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "x.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText: x\n"
        )
        for each in files:
            archive.writestr(each, "")
    if good:
        assert release.inspect(wheel).startswith("2.1-")
    else:
        with pytest.raises(HoldfastError):
            release.inspect(wheel)


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_text("text")
    for name in ("a.whl", "b.whl"):
        with pytest.raises(HoldfastError):
            release.inspect(tmp_path / name)


def test_only_what_runs_and_what_is_gone_back_to_is_kept(tmp_path: Path) -> None:
    for name in ("1-a", "2-b", "3-c", ".building"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    switching.point(tmp_path, "3-c")
    release.tidy(tmp_path, ("3-c", "2-b"))
    assert sorted(path.name for path in (tmp_path / "releases").iterdir()) == ["2-b", "3-c", "current"]


@pytest.mark.parametrize(
    ("out", "err", "found"),
    [
        ("holdfast (1.2)\nAvailable versions: 1.2, 1.1\n", "", ("1.2", "")),
        ("", "WARNING: Retrying (x\nERROR: No matching distribution", ("", "the package index cannot be reached")),
        ("", "ERROR: No matching distribution found for holdfast", ("", "the package index knows no holdfast")),
        ("", "ERROR: unknown command", ("", "pip: unknown command")),
    ],
)  # fmt: skip
def test_what_pip_says_of_the_newest_is_told_in_a_clear_sentence(out: str, err: str, found: tuple[str, str]) -> None:
    assert release.newest_in(out, err) == found


@pytest.mark.parametrize(("older", "newer"), [("0.9", "0.10"), ("1.0-abc", "1.0.1-abc"), ("1", "1.1")])
def test_versions_are_compared_as_numbers(older: str, newer: str) -> None:
    assert release.version_key(older) < release.version_key(newer)


@pytest.mark.parametrize(
    ("name", "complete", "installed", "hands_over"),
    [
        (f"{__version__}-new", True, True, True),
        ("0.0.1-old", True, True, False),  # we are newer: installed after that upgrade
        (f"{__version__}-new", False, True, False),
        (f"{__version__}-new", True, False, False),  # a checkout: its owner chose it
        ("../elsewhere", True, True, False),
    ],
)
def test_a_command_is_handed_to_the_release_in_charge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, complete: bool, installed: bool, hands_over: bool
) -> None:
    python = tmp_path / "releases" / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    if complete:
        (tmp_path / "releases" / name / "release.json").write_text("{}")
    (tmp_path / "releases" / "current").symlink_to(name)
    package = Path(handing_over.__file__).resolve().parents[2]
    monkeypatch.setattr(sys, "prefix", str(package.parent if installed else tmp_path / "venv"))
    assert bool(handing_over.release_in_charge(str(tmp_path))) is hands_over


@pytest.mark.parametrize(
    ("arguments", "home"),
    [
        (["ps"], "/env"),
        (["--home", "/a", "ps"], "/a"),
        (["ps", "--home=/b"], "/b"),
        (["run", "--", "--home", "/c"], "/env"),
    ],
)
def test_the_home_is_found_as_the_command_will(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], home: str
) -> None:
    monkeypatch.setenv("HOLDFAST_HOME", "/env")
    assert handing_over._home(arguments) == home
