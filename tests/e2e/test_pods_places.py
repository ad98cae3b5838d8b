"""Pods made for real: directories, users, commands. As root also for another user."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import errors
from holdfast.home import Home
from holdfast.init.protocol import AgentDef
from holdfast.node.cgroups import CgroupPlan
from holdfast.node.users import Identity
from holdfast.pods import pod
from holdfast.pods.model import Pod
from holdfast.spec.model import AgentSpec, Limits

NONE = CgroupPlan("none", "not wanted here")
NOBODY = Identity(65534, 65534, (65534,), "nobody", "/nonexistent", "/usr/sbin/nologin", "for the test")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act for another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can pass to, which pytest's own temporary directories are not."""
    made = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def home(place: Path) -> Home:
    made = Home(place / "home")
    made.prepare()
    return made


def spec(**changed: Any) -> AgentSpec:
    return AgentSpec(**{"name": "a", "command": ("cat",), "working_dir": "/", **changed})


def me(home: Home) -> Identity:
    return NOBODY if os.geteuid() == 0 else pod.identify(spec(), home)


def build(home: Home, number: int = 1, plan: CgroupPlan = NONE, **changed: Any) -> tuple[AgentDef, Pod]:
    return pod.build(spec(**changed), home, plan, number, me(home))


def test_a_pod_has_its_own_places_and_making_it_again_changes_nothing(home: Home) -> None:
    definition, facts = build(home)
    tmp = Path(facts.tmpdir)
    assert tmp == home.agent("a") / "tmp"
    assert stat.S_IMODE(tmp.stat().st_mode) == 0o700
    assert tmp.stat().st_uid == me(home).uid
    assert stat.S_ISFIFO(os.lstat(definition.fifo).st_mode)
    assert Path(definition.lock).exists()
    assert definition.env["TMPDIR"] == facts.tmpdir
    inode = (os.lstat(definition.fifo).st_ino, tmp.stat().st_ino)
    assert build(home) == (definition, facts)
    assert (os.lstat(definition.fifo).st_ino, tmp.stat().st_ino) == inode


def test_the_definition_is_plain_data_that_travels_as_json(home: Home) -> None:
    definition, _ = build(home)
    fields = {name: getattr(definition, name) for name in definition.__slots__}
    assert AgentDef(**json.loads(json.dumps(fields))) == definition


def test_recreating_gives_an_empty_tmpdir_and_leaves_fifo_and_state_alone(home: Home) -> None:
    definition, facts = build(home)
    directory = os.open(facts.tmpdir, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"/proc/self/fd/{directory}/stale.sock")  # its own path may be too long for a socket
    os.close(directory)
    assert (Path(facts.tmpdir) / "stale.sock").is_socket()
    in_own_home = facts.home_dir.startswith(str(home.path))
    if in_own_home:
        (Path(facts.home_dir) / "state").write_text("kept")
    fifo = os.lstat(definition.fifo).st_ino
    _, fresh = pod.recreate(spec(), home, NONE, 1, me(home))
    assert fresh.number == 2
    assert list(Path(fresh.tmpdir).iterdir()) == []
    assert os.lstat(definition.fifo).st_ino == fifo
    assert pod.tidy(home, NONE, {"a": 2}, ["a"]) == []
    assert {each.name for each in home.agent("a").iterdir()} <= {"tmp", "home"}
    if in_own_home:
        assert (Path(facts.home_dir) / "state").read_text() == "kept"


def test_removing_an_agent_takes_its_places_and_leaves_its_logs(home: Home) -> None:
    definition, _ = build(home)
    pod.recreate(spec(), home, NONE, 1, me(home))
    (home.agent_logs("a") / "current").write_text("said\n")
    assert pod.remove(home, NONE, "a")
    assert not home.agent("a").exists()
    assert not os.path.lexists(definition.fifo)
    assert (home.agent_logs("a") / "current").exists()
    assert pod.remove(home, NONE, "a")


def test_a_link_in_the_place_of_the_tmpdir_is_not_followed(home: Home, place: Path) -> None:
    _, facts = build(home)
    outside = place / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    os.rename(facts.tmpdir, facts.tmpdir + ".old")
    os.symlink(outside, facts.tmpdir)
    build(home)
    assert not os.path.islink(facts.tmpdir)
    pod.tidy(home, NONE, {"a": 1}, ["a"])
    assert (outside / "kept").read_text() == "kept"


def test_a_file_in_the_place_of_the_fifo_is_set_aside(home: Home) -> None:
    home.agent_logs("a").mkdir()
    home.agent_fifo("a").write_text("lines written while there was no FIFO\n")
    definition, _ = build(home)
    assert stat.S_ISFIFO(os.lstat(definition.fifo).st_mode)
    assert (home.agent_logs("a") / "fifo.stray").exists()


@AS_ROOT
def test_removing_an_agent_leaves_what_it_kept_in_its_home(home: Home) -> None:
    _, facts = build(home)
    (Path(facts.home_dir) / "state").write_text("kept")
    assert pod.remove(home, NONE, "a")
    assert (home.agent("a") / "home" / "state").read_text() == "kept"
    assert not Path(facts.tmpdir).exists()


@AS_ROOT
def test_a_new_user_gets_new_places(home: Home) -> None:
    build(home)
    other = NOBODY._replace(uid=54321, gid=54321, name="other")
    definition, facts = pod.build(spec(), home, NONE, 1, other)
    assert (definition.uid, definition.gid) == (54321, 54321)
    assert os.lstat(facts.tmpdir).st_uid == 54321
    assert os.lstat(definition.fifo).st_uid == 54321


@AS_ROOT
def test_the_agents_user_can_use_its_places_and_not_its_neighbours(home: Home) -> None:
    definition, facts = build(home)
    _, other = pod.build(spec(name="b"), home, NONE, 1, NOBODY._replace(uid=54321, gid=54321))

    def run(script: str) -> int:
        def become() -> None:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

        done = subprocess.run(
            ["sh", "-c", script], preexec_fn=become, cwd="/", env=definition.env, capture_output=True, check=False
        )
        return done.returncode

    assert run('touch "$TMPDIR/x" && touch "$HOME/y"') == 0
    assert run(f"ls {other.tmpdir}") != 0
    assert run(f"ls {home.agent_logs('a')}") != 0
    assert run(f"mv {facts.tmpdir} {facts.tmpdir}2") != 0


# --- what cannot be started --------------------------------------------------------------------------------------
def failure(home: Home, **changed: Any) -> errors.HoldfastError:
    with pytest.raises(errors.HoldfastError) as caught:
        build(home, **changed)
    return caught.value


def test_a_missing_command_is_told(home: Home) -> None:
    assert failure(home, command=("no-such-command",)).kind is errors.COMMAND_NOT_FOUND
    assert failure(home, command=("/bin/no-such-command",)).kind is errors.COMMAND_NOT_FOUND


def test_a_missing_working_directory_is_told(home: Home) -> None:
    found = failure(home, working_dir="/no/such/place")
    assert found.kind is errors.SPAWN_FAILED
    assert "/no is missing" in found.summary


def test_a_script_whose_interpreter_is_missing_is_told(home: Home, place: Path) -> None:
    script = place / "script"
    script.write_text("#!/no/such/python -u\n")
    script.chmod(0o755)
    found = failure(home, command=("./script",), working_dir=str(place))
    assert found.kind is errors.COMMAND_NOT_FOUND
    assert "/no/such/python" in found.summary


def test_a_file_that_is_not_executable_is_told(home: Home, place: Path) -> None:
    (place / "script").write_text("#!/bin/sh\n")
    found = failure(home, command=("./script",), working_dir=str(place))
    assert found.kind is errors.PLACE_UNREACHABLE
    assert str(place / "script") in found.summary


@AS_ROOT
def test_a_place_closed_to_the_agents_user_is_named(home: Home, place: Path) -> None:
    closed = place / "closed"
    (closed / "work").mkdir(parents=True)
    closed.chmod(0o700)
    (place / "python").symlink_to(closed / "work" / "python")
    assert f"cannot reach {closed}" in failure(home, working_dir=str(closed / "work")).summary
    assert f"cannot reach {closed}" in failure(home, command=(str(place / "python"),)).summary
    home.path.chmod(0o700)
    assert failure(home).summary.endswith(str(home.path))


def test_limits_without_cgroups_are_held_where_they_can_and_told_otherwise(home: Home) -> None:
    limits = Limits(memory_bytes=1 << 30, pids=10, nofile=256)
    definition, facts = build(home, limits=limits)
    assert (definition.data_bytes, definition.nofile) == (1 << 30, 256)
    assert (definition.cgroup_v2, definition.cgroup_v1) == (None, [])
    assert [note["code"] for note in facts.notes] == ["HF4003", "HF4003"]
