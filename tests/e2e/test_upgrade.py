"""`holdfast upgrade` from the previous commit to this tree, and back: agents never notice, no line is lost."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli_home import PATIENCE_S, CliHome, cli_home, wait_until
from tests.harness import wheels

ROOT = Path(__file__).resolve().parents[2]
COUNTER = """\
import os, socket, time
number = 0
while True:
    number += 1
    print(f"line {number}", flush=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(f"WATCHDOG=1\\nX_CYCLE={number}".encode(), os.environ["NOTIFY_SOCKET"])
    time.sleep(0.02)
"""
SPEC = """\
version: 1
agents:
  counter: {command: [%s, counter.py], health: {beat: 30s}%s}
  sleeper: {command: [sleep, "1000"]%s}
"""


def previous_code(directory: Path) -> Path:
    """`src` of the commit before this one."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this tree has no history of git")
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "archive", "HEAD~1", "src"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("there is no previous commit")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        kind: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # since 3.11.4
        archive.extractall(directory, **kind)
    return directory / "src"


@pytest.fixture
def home() -> Iterator[CliHome]:
    with cli_home() as made:
        user = ", user: root" if os.getuid() == 0 else ""
        made.write(COUNTER, "counter.py")
        made.write(SPEC % (sys.executable, user, user))
        yield made


def with_code(home: CliHome, source: Path) -> None:
    home.environment["PYTHONPATH"] = str(source)


def pids(home: CliHome) -> dict[str, int]:
    """As soon as a keeper answers that has met init."""
    own(home)
    return {name: row["pid"] for name, row in wait_until(home.agents, "a keeper that answers").items()}


def up(home: CliHome) -> dict[str, int]:
    done = home.run("up", "--wait")
    assert done.returncode == 0, done.stderr
    return pids(home)


def code_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def own(home: CliHome) -> dict[str, int]:
    def all_there() -> dict[str, int] | None:
        found = home.own()
        return found if {"guard", "init", "keeper", "logger"} <= found.keys() else None

    found: dict[str, int] = wait_until(all_there, "all processes")
    return found


def assert_no_line_is_lost(home: CliHome) -> int:
    """How many there are."""
    lines = home.run("logs", "counter", "-n", "1000000", "--json").stdout.splitlines()
    texts = [json.loads(line).get("line", "") for line in lines]
    numbers = [int(text.split()[1]) for text in texts if text.startswith("line ")]
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


@pytest.mark.timeout(1200)
def test_from_the_previous_commit_to_this_tree_and_back_agents_never_notice(home: CliHome) -> None:
    links = home.directory / "wheels"
    links.mkdir()
    try:
        wheels.dependencies(links)
    except wheels.metadata.PackageNotFoundError as error:
        pytest.skip(f"not installed as a distribution here: {error}")
    wheel = wheels.of_tree(ROOT / "src", links)
    former = previous_code(home.directory / "former")
    with_code(home, former)
    before = up(home)
    with_code(home, ROOT / "src")
    home.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links)}
    done = home.run("upgrade", "--from", str(wheel), "--json")
    if "python3-venv" in done.stderr:
        pytest.skip("neither ensurepip nor pip is here")
    assert done.returncode == 0, done.stderr
    release = json.loads(done.stdout)["release"]
    assert pids(home) == before
    for name in ("init", "keeper", "logger"):
        assert f"releases/{release}" in code_of(own(home)[name]), name
    assert {row["restarts"] for row in home.agents().values()} == {0}
    counted = assert_no_line_is_lost(home)
    wait_until(lambda: assert_no_line_is_lost(home) > counted, "lines after the upgrade")
    assert f"releases/{release}" in home.run("events", "--kind", "keeper").stdout
    assert os.readlink(home.path / "releases/current") == release

    # whoever types `holdfast` gets the release, and it builds nothing twice
    program = home.path / "releases" / release / "bin" / "holdfast"
    del home.environment["PYTHONPATH"]
    asked = subprocess.run(
        [str(program), "upgrade", "--from", str(wheel)], env=home.environment, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert "runs already" in asked.stdout, asked.stderr

    with_code(home, ROOT / "src")
    done = home.run("upgrade", "--rollback")
    assert done.returncode == 0, done.stderr
    assert pids(home) == before
    assert str(former) in code_of(own(home)["init"])
    assert not (home.path / "releases/current").is_symlink()
    assert_no_line_is_lost(home)


SWITCH = """\
import json, sys
from pathlib import Path
from holdfast import limits
from holdfast.cli.session import Session
from holdfast.cli.upgrade import RunningHoldfast, _present
from holdfast.upgrading import switching
from holdfast.upgrading.journal import Side
limits.RENEW_S = 15.0  # a keeper that never answers is waited for no longer
session = Session(home_option=sys.argv[1])
former = _present(session)
settings = json.loads(former.services)
settings["code"]["parent"] = settings["pythonpath"] = sys.argv[2]
to = Side(services=json.dumps(settings), words="the other code")
switching.switch(Path(sys.argv[1]), RunningHoldfast(session), to, former, print)
"""


def copy_of_this_code(home: CliHome, name: str) -> Path:
    target = home.directory / name
    shutil.copytree(ROOT / "src" / "holdfast", target / "holdfast", ignore=shutil.ignore_patterns("__pycache__"))
    return target


def switch(home: CliHome, to: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", SWITCH, str(home.path), str(to)], env=home.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("broken", ["init", "keeper"])
def test_a_newer_code_that_does_not_run_is_taken_back_and_agents_never_notice(home: CliHome, broken: str) -> None:
    with_code(home, ROOT / "src")
    before = up(home)
    other = copy_of_this_code(home, "other")
    place = other / "holdfast" / ("init/main.py" if broken == "init" else "keeper/main.py")
    place.write_text("raise SystemExit('broken on purpose')\n")
    tried = switch(home, other)
    said = "".join(tried.communicate(timeout=PATIENCE_S * 2))
    assert tried.returncode == 1
    assert "going back" in said
    assert pids(home) == before
    assert str(ROOT / "src") in code_of(own(home)["init"])
    assert {row["restarts"] for row in home.agents().values()} == {0}
    assert not (home.path / "upgrade.json").exists()
    assert_no_line_is_lost(home)


def test_an_upgrade_killed_in_the_middle_is_finished_by_the_next_command(home: CliHome) -> None:
    with_code(home, ROOT / "src")
    before = up(home)
    other = copy_of_this_code(home, "other")
    begun = switch(home, other)
    wait_until(lambda: (home.path / "upgrade.json").exists(), "the intent")
    begun.send_signal(signal.SIGKILL)
    begun.communicate()
    assert pids(home) == before
    done = home.run("upgrade", "--rollback")
    assert done.returncode == 0, done.stderr
    assert "was interrupted" in done.stderr
    assert str(other) in code_of(own(home)["init"])
    assert pids(home) == before
    assert home.run("upgrade", "--rollback").returncode == 0
    assert str(ROOT / "src") in code_of(own(home)["init"])
    assert pids(home) == before
    assert_no_line_is_lost(home)
