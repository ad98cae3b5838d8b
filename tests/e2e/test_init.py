"""Real guard, init, spawner and agents: each kept alive while the others are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.init import journal, launch, procfs
from tests.crash.bugs import planted
from tests.harness.init_home import InitHome, can_make_v2_groups, running_init, v1_freezer, wait_until

ALWAYS = {"delays_s": [0.0] * 100}


@pytest.fixture
def home() -> Iterator[InitHome]:
    with running_init() as started:
        yield started


@pytest.fixture(params=["none", "v2", "v1"])
def place(request: pytest.FixtureRequest, home: InitHome) -> dict[str, Any]:
    """Where the agent lives: each way of knowing a tree."""
    if request.param == "v2":
        if not can_make_v2_groups():
            pytest.skip("no v2 cgroup may be made here by this user")
        return {"cgroup_v2": home.group("a")}
    if request.param == "v1":
        freezer = v1_freezer()
        if freezer is None:
            pytest.skip("no v1 freezer may be used here by this user")
        path = freezer / f"hf-test-{home.directory.name}"
        path.mkdir(exist_ok=True)
        home.groups.append(path)
        return {"cgroup_v1": [str(path)]}
    return {}


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)


def kill_holdfast(home: InitHome) -> None:
    """All of it at once: nobody restarts anybody meanwhile."""

    def dead() -> bool:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in home.own_processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        return not home.own_processes()

    wait_until(dead, "Holdfast is dead")


def script(home: InitHome, text: str) -> list[str]:
    path = home.directory / "agent.py"
    path.write_text(textwrap.dedent(text))
    return [sys.executable, "-S", str(path)]


def test_a_killed_agent_is_restarted_by_permit(home: InitHome, place: dict[str, Any]) -> None:
    first = home.launch("a", "sleep", "1000", permit={"delays_s": [0.0]}, **place)
    kill(first["pid"])
    died = home.wait(ev="exited", agent="a")
    second = home.wait(ev="spawned", agent="a")
    assert died["status"] == {"signal": 9}
    assert not died["expected"]
    assert second["cause"] == "permit"
    assert second["epoch"] == first["epoch"] + 1
    kill(second["pid"])
    assert home.wait(ev="down", agent="a")["reason"] == "asking"
    assert not [key for key in home.instances() if key[0] == "a"]


def test_an_exit_code_that_must_be_asked_about_is_not_restarted(home: InitHome) -> None:
    home.launch("a", "sh", "-c", "exit 78", permit={**ALWAYS, "ask_codes": [78]})
    assert home.wait(ev="exited", agent="a")["status"] == {"code": 78}
    assert home.wait(ev="down", agent="a")["why"] == "exit code 78 is not restarted without asking"


def test_a_changed_guarded_file_takes_the_permit_away(home: InitHome) -> None:
    config = home.directory / "config"
    config.write_text("one")
    status = config.stat()
    guarded = {str(config): [status.st_mtime_ns, status.st_size, status.st_ino]}
    first = home.launch("a", "sleep", "1000", permit={**ALWAYS, "guarded": guarded})
    kill(first["pid"])
    second = home.wait(ev="spawned", agent="a")
    config.write_text("other")
    kill(second["pid"])
    assert home.wait(ev="down", agent="a")["why"] == f"{config} changed"


def test_a_once_agent_that_ends_well_is_finished_and_one_that_fails_is_not(home: InitHome) -> None:
    home.launch("good", "true", once=True, permit=ALWAYS)
    assert home.wait(ev="down", agent="good")["reason"] == "finished"
    home.launch("bad", "false", once=True, permit={"delays_s": [0.0]})
    home.wait(ev="exited", agent="bad")
    assert home.wait(ev="spawned", agent="bad")["cause"] == "permit"


def test_a_missing_command_is_reported_with_its_stage(home: InitHome) -> None:
    home.define("a", "/no/such/program", permit=ALWAYS)
    home.ask(op="start", agent="a")
    failed = home.wait(ev="spawn_failed", agent="a")
    assert (failed["stage"], failed["reason"]) == ("command", "No such file or directory")
    assert home.wait(ev="down", agent="a")["reason"] == "asking"


def test_a_stop_lets_the_agent_end_by_itself_and_stays_down(home: InitHome, place: dict[str, Any]) -> None:
    argv = script(
        home,
        """
        import os, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"ended well\\n"), sys.exit(0)))
        os.write(1, b"ready\\n")
        while True: time.sleep(1)
        """,
    )
    home.launch("a", *argv, permit=ALWAYS, **place)
    wait_until(lambda: "ready" in home.output("a"), "the agent is ready")
    home.ask(op="stop", agent="a", grace_s=20.0, cause="planned")
    died = home.wait(ev="exited", agent="a")
    assert died["expected"]
    assert died["status"] == {"code": 0}
    assert home.wait(ev="down", agent="a")["reason"] == "stopped"
    assert "ended well" in home.output("a")


@pytest.mark.parametrize(
    "deed",
    [
        "os.setsid() if os.fork() == 0 else None",
        "(os.fork() == 0 and (os.setsid(), os.fork()))",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "subprocess.Popen(['setsid', 'sleep', '1000'], close_fds=True)",
        "[subprocess.Popen(['sh', '-c', 'while :; do sleep 0.01 & wait; done']) for _ in range(3)]",
        "ctypes.CDLL(None).prctl(15, b'other', 0, 0, 0)",
    ],
    ids=["setsid", "double-fork", "ignores-term", "detached-helper", "respawning", "new-title"],
)
@pytest.mark.parametrize("way", ["stop", "death"])
def test_nothing_of_the_tree_is_left(home: InitHome, place: dict[str, Any], deed: str, way: str) -> None:
    argv = script(
        home,
        f"""
        import ctypes, os, signal, subprocess, time
        {deed}
        print("ready", flush=True)
        while True: time.sleep(1)
        """,
    )
    first = home.launch("a", *argv, **place)
    wait_until(lambda: "ready" in home.output("a"), "the agent is ready")
    wait_until(lambda: len(home.instances().get(("a", 1), [])) > 1 or "fork" not in deed, "its helpers run")
    if way == "stop":
        home.ask(op="stop", agent="a", grace_s=0.3)
    else:
        kill(first["pid"])
    home.wait(ev="down", agent="a")
    assert home.instances() == {}


def test_a_second_instance_is_never_born_while_a_process_of_the_first_holds_the_lock(home: InitHome) -> None:
    """The last line of defence: even a helper that no other sign leads to."""
    argv = script(
        home,
        """
        import os, sys, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.environ.clear()
                os.execve(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(1000)"], {})
            os._exit(0)
        print("ready", flush=True)
        while True: time.sleep(1)
        """,
    )
    first = home.launch("a", *argv, permit=ALWAYS)
    wait_until(lambda: "ready" in home.output("a"), "the agent is ready")
    lock = str(home.home.agent_lock("a"))
    before = wait_until(lambda: {p for p in procfs.pids() if procfs.holds_open(p, {lock})}, "lock holders")
    kill(first["pid"])
    second = home.wait(ev="spawned", agent="a")
    after = {pid for pid in procfs.pids() if procfs.holds_open(pid, {lock})}
    assert after & before == set()
    assert second["pid"] in after


def test_init_is_restarted_and_adopts(home: InitHome, place: dict[str, Any]) -> None:
    first = home.launch("a", "sleep", "1000", permit=ALWAYS, **place)
    init_pid = home.state["init"]["pid"]
    kill(init_pid)
    state = home.hello()
    assert state["init"]["pid"] != init_pid
    assert state["agents"]["a"]["pid"] == first["pid"]
    assert state["agents"]["a"]["state"] == "up"
    kill(first["pid"])
    assert home.wait(ev="exited", agent="a")["status"] == {"signal": 9}
    assert home.wait(ev="spawned", agent="a", epoch=2)["cause"] == "permit"


def test_the_exit_code_of_an_agent_is_known_even_when_it_died_without_init(home: InitHome) -> None:
    argv = script(
        home,
        """
        import os, sys, time
        while not os.path.exists(sys.argv[1]): time.sleep(0.01)
        sys.exit(42)
        """,
    )
    sign = home.directory / "sign"
    born = home.launch("a", *argv, str(sign))
    init_pid = home.state["init"]["pid"]
    kill(init_pid, signal.SIGSTOP)
    sign.touch()
    wait_until(lambda: not procfs.is_running(born["pid"], born["starttime"]), "the agent has ended")
    kill(init_pid)
    home.hello()
    assert home.wait(ev="exited", agent="a")["status"] == {"code": 42}


def test_init_takes_the_place_of_a_killed_guard(home: InitHome, place: dict[str, Any]) -> None:
    first = home.launch("a", "sleep", "1000", permit=ALWAYS, **place)
    guard_pid, init_pid = home.state["guard"]["pid"], home.state["init"]["pid"]
    kill(guard_pid)
    wait_until(lambda: guard_of(home) == init_pid, "init became guard")
    state = home.hello()
    assert state["guard"] == {"pid": init_pid, "restarts": 1}
    assert state["agents"]["a"]["pid"] == first["pid"]
    kill(first["pid"], signal.SIGTERM)
    assert home.wait(ev="exited", agent="a")["status"] == {"signal": 15}
    home.wait(ev="spawned", agent="a", epoch=2)


def guard_of(home: InitHome) -> int:
    return int(home.home.guard_lock.read_text().strip() or "0")


def test_after_all_of_holdfast_was_killed_the_next_start_adopts(home: InitHome, place: dict[str, Any]) -> None:
    first = home.launch("a", "sleep", "1000", permit=ALWAYS, **place)
    kill_holdfast(home)
    assert procfs.is_running(first["pid"], first["starttime"])
    state = home.start()
    assert state["agents"]["a"]["pid"] == first["pid"]
    kill(first["pid"])
    home.wait(ev="spawned", agent="a", epoch=2)


def test_what_an_agent_adopted_from_the_dead_leaves_behind_is_swept_too(home: InitHome) -> None:
    """After all of Holdfast died, its orphans belong to somebody else, and so will what they leave behind."""
    argv = script(
        home,
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
        print("ready", flush=True)
        while True: time.sleep(1)
        """,
    )
    first = home.launch("a", *argv, permit=ALWAYS)
    wait_until(lambda: len(home.instances().get(("a", 1), [])) == 2, "its helper runs")
    kill_holdfast(home)
    home.start()
    kill(first["pid"])
    home.wait(ev="spawned", agent="a", epoch=2)
    assert ("a", 1) not in home.instances()


def test_a_lost_journal_does_not_double_an_agent(home: InitHome, place: dict[str, Any]) -> None:
    first = home.launch("a", "sleep", "1000", permit=ALWAYS, **place)
    kill_holdfast(home)
    directory = Path(journal.find_directory(str(home.home.path), home.home.home_id()))
    for path in directory.glob("*.journal"):
        path.unlink()
    home.start()
    home.define("a", "sleep", "1000", permit=ALWAYS, **place)
    assert home.ask(op="start", agent="a")["pid"] == first["pid"]
    assert home.instances() == {("a", 1): [first["pid"]]}


def test_a_second_guard_leaves_with_a_message(home: InitHome) -> None:
    launch.start_guard(str(home.home.path), str(home.home.run))
    log = home.home.own_logs / "guard.log"
    wait_until(lambda: "is owned by another guard; leaving" in log.read_text(), "the second guard leaves")
    assert home.hello()["guard"]["restarts"] == 0


def test_an_upgrade_keeps_every_agent(home: InitHome, place: dict[str, Any]) -> None:
    first = home.launch("a", "sleep", "1000", permit=ALWAYS, **place)
    init_pid = home.state["init"]["pid"]
    assert home.peer is not None
    home.peer.file.write(b'{"op":"reexec"}\n')
    home.peer.file.flush()
    with pytest.raises((OSError, ConnectionResetError)):
        home.wait(ev="never")
    state = home.hello()
    assert state["init"]["pid"] == init_pid
    assert state["agents"]["a"]["pid"] == first["pid"]
    kill(first["pid"])
    assert home.wait(ev="exited", agent="a")["status"] == {"signal": 9}


def test_shutdown_ends_agents_and_holdfast(home: InitHome, place: dict[str, Any]) -> None:
    home.launch("a", "sleep", "1000", permit=ALWAYS, **place)
    home.launch("b", "sh", "-c", "trap '' TERM; sleep 1000 & wait; sleep 1000", permit=ALWAYS, grace_s=0.2)
    assert home.ask(op="shutdown")["ok"]
    wait_until(lambda: not home.own_processes() and not home.instances(), "nothing is left")


def test_term_to_guard_ends_holdfast_and_leaves_agents(home: InitHome) -> None:
    first = home.launch("a", "sleep", "1000", permit=ALWAYS)
    kill(home.state["guard"]["pid"], signal.SIGTERM)
    wait_until(lambda: not home.own_processes(), "Holdfast has left")
    assert procfs.is_running(first["pid"], first["starttime"])
    assert home.start()["agents"]["a"]["pid"] == first["pid"]


def test_a_stopped_init_is_continued_by_guard(home: InitHome) -> None:
    first = home.launch("a", "sleep", "1000", permit=ALWAYS)
    kill(home.state["init"]["pid"], signal.SIGSTOP)
    kill(first["pid"])
    assert home.wait(ev="spawned", agent="a", epoch=2)["cause"] == "permit"


def test_events_are_told_again_until_they_are_acked(home: InitHome) -> None:
    first = home.launch("a", "true")
    done = home.wait(ev="down", agent="a")
    home.hello()
    assert home.wait(ev="spawned", agent="a")["seq"] == first["seq"]
    home.ask(op="ack", seq=done["seq"])
    home.ask(op="beat")
    assert home.hello()["acked"] == done["seq"]
    assert home.ask(op="beat")["ok"]
    assert not home.peer or not [event for event in home.peer.events if event["ev"] == "spawned"]


def test_a_beat_reaches_the_keeper_with_the_agents_name(home: InitHome) -> None:
    argv = script(
        home,
        """
        import os, socket, time
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.sendto(b"READY=1\\nX_CYCLE=7\\nSTATUS=at work", os.environ["NOTIFY_SOCKET"])
        time.sleep(1000)
        """,
    )
    home.launch("a", *argv)
    assert home.wait(ev="notify", agent="a")["fields"] == {"READY": "1", "X_CYCLE": "7", "STATUS": "at work"}


def test_services_come_back_and_are_one_each(home: InitHome) -> None:
    other = InitHome(services={"keeper": {"argv": ["sleep", "1000"]}, "logger": {"argv": ["sleep", "1000"]}})
    try:
        state = other.start()
        first = wait_until(lambda: other.hello()["services"].get("keeper", {}).get("pid"), "a keeper")
        kill(first)
        wait_until(lambda: other.hello()["services"]["keeper"]["pid"] not in (0, first), "another keeper")
        kill(other.hello()["init"]["pid"])
        wait_until(lambda: other.hello()["init"]["pid"] != state["init"]["pid"], "another init")
        assert {key[0]: len(pids) for key, pids in other.instances().items()} == {"@keeper": 1, "@logger": 1}
    finally:
        other.destroy()


def test_only_ends_that_nobody_asked_for_count_as_restarts_of_holdfasts_own(tmp_path: Path) -> None:
    leaves = ["/bin/sh", "-c", f"trap 'exit 0' TERM; : > {tmp_path}/$$; while :; do sleep 0.05; done"]
    other = InitHome(services={"keeper": {"argv": leaves}, "logger": {"argv": ["sleep", "1000"]}})

    def after(former: int) -> dict[str, Any]:
        def another() -> dict[str, Any] | None:
            now: dict[str, Any] = other.hello()["services"].get("keeper", {})
            return now if now and now["pid"] not in (0, former) else None

        found: dict[str, Any] = wait_until(another, "another keeper")
        return found

    try:
        other.start()
        first = after(0)
        kill(first["pid"])
        second = after(first["pid"])
        assert (first["restarts"], second["restarts"]) == (0, 1)
        wait_until(lambda: (tmp_path / str(second["pid"])).exists(), "the trap is set")
        kill(second["pid"], signal.SIGTERM)  # as an upgrade does
        third = after(second["pid"])
        assert third["restarts"] == 0
        kill(third["pid"])
        assert after(third["pid"])["restarts"] == 1
        assert other.ask(op="shutdown")["ok"]
        wait_until(lambda: not other.own_processes(), "Holdfast is down")
        other.start()
        assert after(0)["restarts"] == 0
    finally:
        other.destroy()


def test_the_last_resort_is_run_once_when_no_keeper_says_hello(tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    services = {
        "keeper": {"argv": ["sleep", "1000"]},
        "logger": {"argv": ["sleep", "1000"]},
        "last_resort": ["sh", "-c", f"echo called >> {sign}"],
    }
    other = InitHome(services=services, start_guard=planted("hasty-last-resort"))
    try:
        other.start_guard(str(other.home.path), str(other.home.run))
        wait_until(lambda: sign.exists() and sign.read_text(), "the last resort is run")
        # Nobody may say hello here: after one, a new minute of patience begins.
        wait_until(lambda: ("@keeper", 2) in other.instances(), "the silent keeper was replaced")
        assert sign.read_text() == "called\n"
    finally:
        other.destroy()


def test_an_agent_keeps_printing_while_nobody_reads(home: InitHome) -> None:
    """A FIFO that the agent itself holds open for reading too never breaks under it."""
    fifo = home.directory / "fifo"
    os.mkfifo(fifo)
    argv = script(home, "import time\nwhile True: print('line', flush=True); time.sleep(0.01)")
    first = home.launch("a", *argv, fifo=str(fifo))
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    wait_until(lambda: read_some(reader), "the first reader sees lines")
    os.close(reader)
    time.sleep(0.1)
    assert procfs.is_running(first["pid"], first["starttime"])
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    wait_until(lambda: read_some(reader), "the second reader sees lines")
    os.close(reader)


def read_some(fd: int) -> bytes:
    try:
        return os.read(fd, 100)
    except BlockingIOError:
        return b""


def test_a_cgroup_left_frozen_by_a_killed_init_is_thawed_before_the_next_birth(home: InitHome) -> None:
    if not can_make_v2_groups():
        pytest.skip("no v2 cgroup may be made here by this user")
    group = Path(home.group("a"))
    (group / "cgroup.freeze").write_text("1")
    born = home.launch("a", "sleep", "1000", cgroup_v2=str(group))
    assert procfs.instance_of(born["pid"])


def test_what_was_decided_about_an_earlier_instance_is_left_undone(home: InitHome) -> None:
    first = home.launch("a", "sleep", "1000", permit={"delays_s": [0.0]})
    kill(first["pid"])
    second = home.wait(ev="spawned", agent="a", epoch=2)
    home.ask(op="permit", agent="a", instance=1, permit=ALWAYS)
    assert home.ask(op="restart", agent="a", instance=1, cause="late")["pid"] == second["pid"]
    assert home.hello()["agents"]["a"]["permit_left"] == []
    home.ask(op="permit", agent="a", instance=2, while_running=True, permit={"delays_s": [5.0]})
    assert home.hello()["agents"]["a"]["permit_left"] == [5.0]
    kill(second["pid"])
    home.wait(ev="waiting", agent="a")
    home.ask(op="permit", agent="a", instance=2, while_running=True, permit=ALWAYS)
    assert home.hello()["agents"]["a"]["permit_left"] == []
