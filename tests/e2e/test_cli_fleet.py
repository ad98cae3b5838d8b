"""up, ps, down and the rest on a real Holdfast, with its processes killed in between."""

from __future__ import annotations

import json
import os
import signal

from tests.e2e.cli_home import PATIENCE_S, CliHome, Reader, home, wait_until

__all__ = ["home"]

FLEET = """\
version: 1
agents:
  ticker:
    command: [sh, -c, 'echo begun; while :; do echo tick; sleep 0.2; done']
    stop: {grace: 3s}
  sleeper:
    command: [sleep, "100000"]
    stop: {grace: 3s}
"""


def up(home: CliHome, text: str = FLEET) -> None:
    home.write(text)
    done = home.run("up", "-d", "--wait", "--timeout", "60")
    assert done.returncode == 0, done.stdout + done.stderr


def test_up_starts_what_the_file_says_and_down_leaves_nothing(home: CliHome) -> None:
    up(home)
    rows = home.agents()
    assert set(rows) == {"ticker", "sleeper"}
    assert {row["phase"] for row in rows.values()} == {"healthy"}
    wait_until(lambda: set(home.own()) == {"guard", "init", "keeper", "logger"}, "all of Holdfast")
    assert home.run("ps").returncode == 0
    assert "ticker" in home.run("ps").stdout
    done = home.run("down")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not home.left(), "nothing is left")
    assert home.run("ps").returncode == 5
    again = home.run("down")
    assert again.returncode == 0
    assert "nothing runs" in again.stdout


def test_a_bad_file_starts_nothing(home: CliHome) -> None:
    home.write("version: 1\nagents:\n  a: {comand: [sleep, '1']}\n")
    done = home.run("up", "-d")
    assert done.returncode == 2
    assert "holdfast.yaml:3" in done.stderr
    assert "did you mean command" in done.stderr
    assert not home.left()
    missing = home.run("up", "-d", "-f", "nosuch.yaml")
    assert missing.returncode == 2
    assert missing.stderr.startswith("HF1002")


def test_a_second_up_changes_the_running_fleet_and_keeps_what_did_not_change(home: CliHome) -> None:
    up(home)
    before = home.agents()
    home.write(FLEET.replace("sleeper", "other"))
    done = home.run("up", "-d", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    change = json.loads(done.stdout.splitlines()[0])
    assert (change["added"], change["removed"], change["unchanged"]) == (["other"], ["sleeper"], ["ticker"])
    assert change["started"] is False
    after = wait_until(lambda: (rows := home.agents()) and set(rows) == {"ticker", "other"} and rows, "the new fleet")
    assert after["ticker"]["pid"] == before["ticker"]["pid"]


def test_two_ups_at_once_make_one_holdfast(home: CliHome) -> None:
    home.write(FLEET)
    both = [home.start("up", "-d", "--wait", "--timeout", "60") for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=2 * PATIENCE_S)
        assert process.returncode == 0, out + err
    rows = home.agents()
    assert all(row["instance"] == 1 for row in rows.values())
    own = wait_until(lambda: found if len(found := home.own()) == 4 else None, "all of Holdfast")
    assert len([pid for pid in home.left() if pid in own.values()]) == 4


def test_a_killed_agent_and_a_killed_keeper_come_back(home: CliHome) -> None:
    up(home)
    before = home.agents()
    os.kill(before["sleeper"]["pid"], signal.SIGKILL)
    wait_until(
        lambda: home.agents().get("sleeper", {}).get("pid") not in (None, before["sleeper"]["pid"]), "it is back"
    )
    keeper = home.own()["keeper"]
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: home.own().get("keeper") not in (None, keeper), "the keeper is back")
    after = wait_until(lambda: home.agents(), "the keeper answers")
    assert after["ticker"]["pid"] == before["ticker"]["pid"]
    assert after["ticker"]["instance"] == 1
    listed = json.loads(home.run("incidents", "--json").stdout)["incidents"]
    assert [one["agent"] for one in listed] == ["sleeper"]
    shown = json.loads(home.run("incidents", "show", listed[0]["id"], "--json").stdout)
    assert "SIGKILL" in shown["cause"]
    known = json.loads(home.run("describe", "sleeper", "--json").stdout)
    assert known["deaths"][-1]["instance"] == 1


def test_down_works_while_the_keeper_cannot_answer(home: CliHome) -> None:
    up(home)
    services = home.path / "services.json"
    text = services.read_text()
    services.write_text(text.replace("holdfast.keeper", "holdfast.no_such_keeper"))
    os.kill(home.own()["keeper"], signal.SIGKILL)
    wait_until(lambda: home.run("ps").returncode == 5, "no keeper answers")
    done = home.run("down", "--timeout", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: not home.left(), "nothing is left")


def test_after_everything_of_holdfast_was_killed_up_adopts_what_runs(home: CliHome) -> None:
    up(home)
    before = home.agents()
    _kill_holdfast(home)
    up(home)
    after = home.agents()
    assert {name: row["pid"] for name, row in after.items()} == {name: row["pid"] for name, row in before.items()}


def test_after_everything_of_holdfast_was_killed_down_stops_what_runs(home: CliHome) -> None:
    up(home)
    _kill_holdfast(home)
    done = home.run("down", "--timeout", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: not home.left(), "nothing is left")


def _kill_holdfast(home: CliHome) -> None:
    """kill -9 of guard, init, keeper, logger and the spawner: what is left afterwards are the agents."""
    agents = {row["pid"] for row in home.agents().values()}
    for _ in range(200):
        own = [pid for pid in home.left() if pid not in agents and _is_holdfast(pid)]
        if not own:
            return
        for name in (signal.SIGSTOP, signal.SIGKILL):  # nobody restarts anybody meanwhile
            for pid in own:
                try:
                    os.kill(pid, name)
                except OSError:
                    continue
    raise AssertionError(f"Holdfast cannot be killed: {own}")


def _is_holdfast(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"holdfast" in file.read()
    except OSError:
        return False


def test_stop_start_and_restart_of_one_agent(home: CliHome) -> None:
    up(home)
    first = home.agents()["sleeper"]["pid"]
    assert home.run("stop", "sleeper", "--wait").returncode == 0
    assert home.agents()["sleeper"]["phase"] == "stopped"
    assert home.run("ps").returncode == 0
    assert home.run("start", "sleeper", "--wait").returncode == 0
    second = home.agents()["sleeper"]["pid"]
    assert second not in (None, first)
    assert home.run("restart", "sleeper", "--wait").returncode == 0
    third = wait_until(lambda: home.agents()["sleeper"]["pid"] not in (None, second), "a new process")
    assert third
    assert json.loads(home.run("incidents", "--json").stdout)["incidents"] == []
    assert home.run("stop", "nobody").returncode == 4


def test_logs_are_shown_with_a_keeper_and_without_one(home: CliHome) -> None:
    up(home)
    wait_until(lambda: "tick" in home.run("logs", "ticker").stdout, "a line")
    assert home.run("logs", "ticker", "--since", "10m").stdout.startswith("begun\n")
    assert len(home.run("logs", "ticker", "-n", "1").stdout.splitlines()) == 1
    assert home.run("logs", "nobody").returncode == 4
    assert home.run("logs", "ticker", "--since", "soon").returncode == 2
    follower = home.start("logs", "ticker", "-f", "-n", "1")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "tick\n"
    assert follower.stdout.readline() == "tick\n"
    follower.send_signal(signal.SIGINT)
    assert follower.wait(timeout=PATIENCE_S) == 130
    home.run("down")
    done = home.run("logs", "ticker", "--since", "10m")
    assert done.stdout.startswith("begun\n")
    assert done.returncode == 0


def test_events_tell_what_was_done_and_are_numbered(home: CliHome) -> None:
    up(home)
    records = [json.loads(line) for line in home.run("events", "--all", "--json").stdout.splitlines()]
    assert [one["seq"] for one in records] == sorted({one["seq"] for one in records})
    assert {"ticker", "sleeper"} <= {one["agent"] for one in records}
    assert "ticker" in home.run("events").stdout


def test_doctor_answers_with_and_without_a_keeper(home: CliHome) -> None:
    alone = json.loads(home.run("doctor", "--json").stdout)["checks"]
    up(home)
    asked = json.loads(home.run("doctor", "--json").stdout)["checks"]
    assert {one["name"] for one in alone} <= {one["name"] for one in asked}
    assert all(set(one) == {"name", "ok", "value", "why", "next"} for one in alone + asked)


def test_in_the_foreground_term_stops_everything(home: CliHome) -> None:
    home.write(FLEET)
    process = home.start("up")
    reader = Reader(process)
    for name in ("ticker", "sleeper"):
        wait_until(lambda name=name: [line for line in reader.out if f"{name}: healthy" in line], f"{name} is healthy")
    process.terminate()
    assert process.wait(timeout=2 * PATIENCE_S) == 0, reader.err
    wait_until(lambda: not home.left(), "nothing is left")


def test_waiting_too_long_is_exit_code_3_and_says_for_whom(home: CliHome) -> None:
    home.write("version: 1\nagents:\n  never: {command: [sh, -c, exit 1], restart: {backoff: [0s, 50s]}}\n")
    assert home.run("up", "-d").returncode == 0
    done = home.run("up", "-d", "--wait", "--timeout", "3")
    assert done.returncode == 3
    assert "HF2012" in done.stderr
    assert "never" in done.stderr
    assert home.run("ps").returncode == 3


def test_up_without_a_file_brings_back_what_ran_before(home: CliHome) -> None:
    up(home)
    home.run("down")
    (home.directory / "holdfast.yaml").unlink()
    done = home.run("up", "-d", "--wait", "--timeout", "60")
    assert done.returncode == 0, done.stderr
    assert {row["phase"] for row in home.agents().values()} == {"healthy"}
