"""Log files that agents write themselves: kept within their cap while they run, or before they are started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.logs import capping
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome

CAP = 100_000
SOON = """
import runpy
from holdfast import limits
limits.CAPPED_LOOK_S = 1.5
limits.CAPPED_START_WAIT_S = 90.0
runpy.run_module("holdfast.keeper", run_name="__main__")
"""
WRITE = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | int(sys.argv[2]), 0o600)
os.lseek(fd, 0, os.SEEK_END)
print("opened", os.fstat(fd).st_size, flush=True)
for number in range(20_000):
    os.write(fd, b"line %07d\\n" % number)
while True:
    time.sleep(0.05)
    os.write(fd, b"tick\\n")
"""


def quick(home: KeeperHome) -> KeeperHome:
    """A keeper that looks soon."""
    services = json.loads(home.home.services.read_text())
    argv = services["keeper"]["argv"]
    services["keeper"]["argv"] = [argv[0], "-P", "-c", SOON, *argv[4:]]
    home.home.services.write_text(json.dumps(services))
    return home


def test_a_file_is_cut_while_its_agent_appends_or_else_before_its_next_start() -> None:
    home = quick(KeeperHome())
    try:
        appended, other = home.directory / "append.log", home.directory / "other.log"
        logs = {"files_max_bytes": CAP}

        def agent(name: str, path: Path, flags: int) -> dict[str, Any]:
            command = (sys.executable, "-c", WRITE, str(path), str(flags))
            return home.spec(name, *command, logs={**logs, "files": [str(path)]})

        home.up(agent("good", appended, os.O_APPEND), agent("bad", other, 0))
        wait_until(lambda: (home.directory / "append.log.holdfast.zst").exists(), "what was cut away")
        wait_until(lambda: appended.stat().st_size <= CAP, "a file within its cap")
        wait_until(lambda: b"append.log was over its cap" in log_of(home, "good"), "a notice in the agent's log")
        row = home.wait_row("bad", why=lambda text: "O_APPEND" in str(text))
        assert row["health"]["behaviour"] == "off", "it never acts"
        assert row["restarts"] == 0
        assert other.stat().st_size > CAP, "it is not touched while it is open so"
        home.client.post("/v1/agents/bad/stop", {"wait": False})
        home.wait_row("bad", pid=lambda pid: not pid)
        home.client.post("/v1/agents/bad/start", {"wait": False})
        home.wait_row("bad", pid=lambda pid: bool(pid))
        wait_until(lambda: log_of(home, "bad").count(b"opened") == 2, "a second instance that opened its file")
        sizes = [int(line.split()[1]) for line in log_of(home, "bad").splitlines() if line.startswith(b"opened")]
        assert sizes[1] <= CAP
        wanted = {("log-file.cut", "good"), ("log-file.left", "bad"), ("log-file.cut", "bad")}
        wait_until(lambda: wanted <= {(event["kind"], event["agent"]) for event in home.events()}, "all is told")
    finally:
        home.close()


def log_of(home: KeeperHome, name: str) -> bytes:
    try:
        return (home.home.agent_logs(name) / "log").read_bytes()
    except OSError:
        return b""


def ask(home: Path, **more: Any) -> dict[str, Any]:
    asked = {"agent": "a", "cap_bytes": CAP, "max_age_s": 3600, "uid": None, "gid": None, "groups": [], **more}
    done = subprocess.run(
        [sys.executable, "-P", "-m", capping.__name__, "--home", str(home)],
        input=json.dumps({"agents": [asked]}).encode() + b"\n",
        capture_output=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_what_is_no_log_of_the_agent_is_named_and_left_alone(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "small.log").write_bytes(b"x")
    (files / "base.log").write_bytes(b"SQLite format 3\0" + bytes(2 * CAP))
    (files / "twice.log").write_bytes(bytes(2 * CAP))
    os.link(files / "twice.log", files / "second-name")
    (files / "dir.log").mkdir()
    (files / "link.log").symlink_to(files / "base.log")
    (files / "old.log.holdfast.zst").write_bytes(b"x")
    os.utime(files / "old.log.holdfast.zst", (1, 1))
    (files / "half.log.holdfast.zst.partial").write_bytes(b"x")
    before = {path.name: path.lstat().st_size for path in files.iterdir() if ".holdfast." not in path.name}
    answer = ask(tmp_path, globs=[f"{files}/*.log"])
    assert {(Path(one["path"]).name, one["what"], one["why"]) for one in answer["files"]} == {
        ("base.log", "left", "it is a database"),
        ("twice.log", "left", "it has more than one name"),
    }
    assert {path.name: path.lstat().st_size for path in files.iterdir()} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights")
def test_as_root_files_are_cut_with_their_users_rights_alone(tmp_path: Path) -> None:
    user = 54321
    files = tmp_path / "files"
    files.mkdir()
    for path in (*tmp_path.parents, tmp_path):
        if path.owner() == "root" and path.stat().st_mode & 0o001 == 0 and str(path).startswith("/tmp/"):
            path.chmod(0o711)
    os.chown(files, user, user)
    mine, roots = files / "mine.log", files / "roots.log"
    for path in (mine, roots):
        path.write_bytes(b"line\n" * CAP)
    os.chown(mine, user, user)
    roots.chmod(0o666)
    answer = ask(tmp_path, globs=[f"{files}/*.log"], uid=user, gid=user)
    told = {(Path(one["path"]).name, one["what"]) for one in answer["files"]}
    assert told == {("mine.log", "cut"), ("roots.log", "left")}
    assert mine.stat().st_size <= CAP
    assert (files / "mine.log.holdfast.zst").stat().st_uid == user
    assert roots.stat().st_size == 5 * CAP
