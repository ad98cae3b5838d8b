"""Switching controllers on in a cgroup that holds processes, against the kernel's rules for v2 as files."""

import errno
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.node import cgroups, delegation

THREADED = {"cpu", "cpuset", "pids", "perf_event"}


class Kernel:
    """Plays cgroup v2 below `top`: who may be where, and what may be on beside processes."""

    def __init__(self, top: Path, offered: str = "cpu memory pids", stubborn: bool = False) -> None:
        self.top, self.offered, self.stubborn = top, offered, stubborn
        self.write = Path.write_text
        self.make = Path.mkdir

    def play(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(Path, "write_text", lambda path, text, *rest: self.wrote(path, text))
        patch.setattr(Path, "mkdir", lambda path, *rest, **words: self.made(path, *rest, **words))

    def made(self, path: Path, *rest: object, **words: bool) -> None:
        there = path.is_dir()
        self.make(path, *rest, **words)  # type: ignore[arg-type]
        if not there:
            for name in ("procs", "subtree_control", "type"):
                self.write(path / f"cgroup.{name}", "")
            self.write(path / "cgroup.controllers", self.offered)
        self.judge()

    def words(self, path: Path) -> list[str]:
        return path.read_text().split()

    def judge(self) -> None:
        """The type of each; below a root of threads no process may be."""
        for path in (each.parent for each in self.top.rglob("cgroup.type")):
            kind = "domain invalid" if self.is_thread_root(path.parent) else "domain"
            self.write(path / "cgroup.type", "domain threaded" if self.is_thread_root(path) else kind)

    def is_thread_root(self, path: Path) -> bool:
        if not (path / "cgroup.type").exists():
            return False
        on = set(self.words(path / "cgroup.subtree_control"))
        return bool(self.words(path / "cgroup.procs") and on & THREADED)

    def wrote(self, path: Path, text: str) -> int:
        place = path.parent
        if path.name == "cgroup.procs":
            self.move(place, text)
        elif path.name == "cgroup.subtree_control":
            self.switch(place, text[0], text[1:])
        self.judge()
        return len(text)

    def move(self, place: Path, pid: str) -> None:
        if "invalid" in (place / "cgroup.type").read_text():
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        if self.stubborn:
            raise OSError(errno.EACCES, "Permission denied")
        for file in self.top.rglob("cgroup.procs"):
            self.write(file, " ".join(each for each in self.words(file) if each != pid))
        self.write(place / "cgroup.procs", " ".join([*self.words(place / "cgroup.procs"), pid]))

    def switch(self, place: Path, sign: str, controller: str) -> None:
        file = place / "cgroup.subtree_control"
        on, inside = set(self.words(file)), self.words(place / "cgroup.procs")
        if sign == "+":
            if "invalid" in (place / "cgroup.type").read_text():
                raise OSError(errno.EOPNOTSUPP, "Operation not supported")
            if inside and controller not in THREADED:
                raise OSError(errno.EOPNOTSUPP if self.is_thread_root(place) else errno.EBUSY, "no")
            if inside and "memory" in on:
                raise OSError(errno.EBUSY, "Device or resource busy")
        self.write(file, " ".join(sorted(on | {controller} if sign == "+" else on - {controller})))


def given(top: Path, kernel: Kernel, on: str = "") -> tuple[Path, Path]:
    """A cgroup of ours with two processes in it, and the directory of our agents below."""
    base, root = top / "base", top / "base" / "holdfast-x"
    for each in (base, root):
        each.mkdir()
    kernel.write(base / "cgroup.procs", "11 12")
    kernel.write(base / "cgroup.subtree_control", on)
    kernel.judge()
    return base, root


def pids(directory: Path) -> list[str]:
    return sorted((directory / "cgroup.procs").read_text().split())


@pytest.mark.parametrize("offered", ["cpu memory pids", "cpu pids", "memory"])
def test_processes_leave_before_anything_is_switched_on(
    offered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(tmp_path, offered)
    kernel.play(monkeypatch)
    base, root = given(tmp_path, kernel)
    held, why = delegation.enable(base, root, cgroups.LIMITING)
    assert held == set(offered.split()), why
    assert (pids(base), pids(base / delegation.LEAF)) == ([], ["11", "12"])
    assert delegation.is_usable(root)


def test_a_cgroup_that_counts_threads_already_becomes_a_normal_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(tmp_path)
    kernel.play(monkeypatch)
    base, root = given(tmp_path, kernel, "cpu cpuset")
    assert not delegation.is_usable(root)
    held, why = delegation.enable(base, root, cgroups.LIMITING)
    assert held == set(cgroups.LIMITING), why
    assert pids(base / delegation.LEAF) == ["11", "12"]
    assert "cpuset" in (base / "cgroup.subtree_control").read_text(), "what others had switched on is on again"


@pytest.mark.parametrize(
    ("offered", "before", "after"),
    [("memory", "0", str(limits.OWN_PROTECTED_BYTES)), ("memory", "4096", "4096"), ("cpu", "0", "0")],
)
def test_our_own_pages_are_protected_where_nobody_said_otherwise(
    offered: str, before: str, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (base := tmp_path / "base", root := base / "holdfast-x"):
        each.mkdir()
        (each / "cgroup.controllers").write_text(offered)
    leaf = base / delegation.LEAF
    leaf.mkdir()
    (leaf / "memory.low").write_text(before)
    monkeypatch.setattr(delegation, "_empty", lambda _base: None)
    monkeypatch.setattr(delegation, "_switch_on", lambda _place, _controller: None)
    delegation.enable(base, root, ("memory",) if offered == "memory" else ("cpu",))
    assert (leaf / "memory.low").read_text() == after


def test_processes_that_cannot_be_moved_are_the_reason_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, stubborn=True)
    kernel.play(monkeypatch)
    base, root = given(tmp_path, kernel)
    held, why = delegation.enable(base, root, cgroups.LIMITING)
    assert not held
    assert "cannot be moved: Permission denied" in why


def test_a_place_where_no_process_may_be_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, stubborn=True)
    kernel.play(monkeypatch)
    given(tmp_path, kernel, "cpu")
    view = cgroups.View(cgroups.Mount(tmp_path, "/", frozenset()), (), "/base", {}, "/init.scope")
    found = cgroups.plan(view, "holdfast-x", "auto", False)
    assert (found.kind, found.v2_root) == ("none", None)
    assert "no process can be moved below it" in found.why
