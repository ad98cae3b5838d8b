"""`holdfast service` with real processes and a systemctl that does what systemd does: agents never notice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli_home import HOLDFAST, PATIENCE_S, CliHome, cli_home, wait_until
from tests.harness import fake_systemd

SPEC = """\
version: 1
agents:
  one: {command: [sleep, "1000"], working_dir: /tmp%s}
  two: {command: [sleep, "1000"], working_dir: /tmp%s}
"""


@pytest.fixture
def home() -> Iterator[CliHome]:
    with cli_home() as made:
        made.environment.update(fake_systemd.install(made.directory / "systemd"))
        user = ", user: root" if os.getuid() == 0 else ""
        made.write(SPEC % (user, user))
        yield made


def pids(home: CliHome) -> dict[str, int]:
    """Of the agents, as soon as a keeper answers that has met init."""
    own(home)
    rows: dict[str, dict[str, int]] = wait_until(home.agents, "a keeper that answers")
    return {name: row["pid"] for name, row in rows.items()}


def up(home: CliHome) -> dict[str, int]:
    done = home.run("up", "--wait")
    assert done.returncode == 0, done.stderr
    return pids(home)


def own(home: CliHome) -> dict[str, int]:
    """Holdfast's own processes, told by a keeper that has met init."""

    def all_there() -> dict[str, int] | None:
        found = home.own()
        return found if {"guard", "init", "keeper", "logger"} <= found.keys() else None

    there: dict[str, int] = wait_until(all_there, "all processes")
    return there


def status(home: CliHome) -> dict[str, object]:
    found: dict[str, object] = json.loads(home.run("service", "status", "--json").stdout)
    return found


def systemctl(home: CliHome, *arguments: str) -> None:
    program = home.directory / "systemd/bin/systemctl"
    subprocess.run([str(program), "--user", *arguments], env=home.environment, check=True, timeout=90)


def unit(home: CliHome) -> str:
    return f"holdfast-{(home.path / 'home.id').read_text().strip()}.service"


def test_a_service_takes_over_a_running_holdfast_is_restarted_and_taken_away_and_agents_never_notice(
    home: CliHome,
) -> None:
    before = up(home)
    guard = own(home)["guard"]
    done = home.run("service", "install", "--user")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: home.own().get("guard") not in (None, guard), "the unit's guard")
    assert pids(home) == before
    wait_until(lambda: status(home)["ok"] is True, "the unit is in charge")
    assert "enable-linger" in (home.directory / "systemd/state/calls").read_text()

    guard = own(home)["guard"]
    systemctl(home, "restart", unit(home))
    wait_until(lambda: home.own().get("guard") not in (None, guard), "the next guard")
    assert pids(home) == before
    assert {row["restarts"] for row in home.agents().values()} == {0}

    done = home.run("service", "uninstall")
    assert done.returncode == 0, done.stderr
    assert pids(home) == before
    assert not list((home.directory / "systemd/config/systemd/user").glob("holdfast*"))
    assert status(home)["installed"] is False


def test_a_killed_guard_is_replaced_by_the_units_own_and_down_stays_down(home: CliHome) -> None:
    before = up(home)
    assert home.run("service", "install", "--user").returncode == 0
    os.kill(own(home)["guard"], signal.SIGKILL)
    systemctl(home, "start", unit(home))  # what Restart=always does; init has become guard meanwhile
    wait_until(lambda: status(home)["ok"], "the unit is in charge again")
    assert pids(home) == before
    main_pid = own(home)["guard"]
    assert home.run("down").returncode == 0
    wait_until(lambda: not Path(f"/proc/{main_pid}/cmdline").exists() or zombie(main_pid), "guard left")
    text = (home.directory / "systemd/config/systemd/user" / unit(home)).read_text()
    assert "RestartPreventExitStatus=10" in text
    done = home.run("up", "--wait")  # through the unit
    assert done.returncode == 0, done.stderr
    wait_until(lambda: status(home)["in_charge"] is True, "the unit is in charge")


def zombie(pid: int) -> bool:
    return fake_systemd.starttime(pid) == -1


def test_guard_in_the_foreground_says_by_its_exit_code_whether_it_was_sent_away_or_taken_down(home: CliHome) -> None:
    first = subprocess.Popen([*HOLDFAST, "service", "run"], env=home.environment, stdin=subprocess.DEVNULL)
    wait_until(lambda: home.own().get("guard") == first.pid, "the first guard")  # or `up` might start one as well
    agents = up(home)
    first.terminate()
    assert first.wait(PATIENCE_S) == 0
    assert all(fake_systemd.starttime(pid) > 0 for pid in agents.values())
    second = subprocess.Popen([*HOLDFAST, "service", "run"], env=home.environment, stdin=subprocess.DEVNULL)
    wait_until(lambda: home.own().get("guard") == second.pid, "the second guard")
    assert pids(home) == agents
    assert home.run("down").returncode == 0
    assert second.wait(PATIENCE_S) == 10


def test_the_unit_ends_agents_gracefully_only_when_the_machine_stops(home: CliHome) -> None:
    before = up(home)
    assert home.run("service", "install", "--user").returncode == 0
    assert home.run("service", "stopping").returncode == 0
    assert pids(home) == before
    (home.directory / "systemd/state/machine").write_text("stopping\n")
    assert home.run("service", "stopping").returncode == 0
    assert all(fake_systemd.starttime(pid) == -1 for pid in before.values())


def test_a_reload_takes_the_code_anew_without_touching_agents(home: CliHome) -> None:
    before = up(home)
    former = own(home)
    done = home.run("service", "reload")
    assert done.returncode == 0, done.stderr
    assert pids(home) == before
    after = own(home)
    assert after["keeper"] != former["keeper"]
    assert after["logger"] != former["logger"]
    assert after["init"] == former["init"]  # re-executed in place


def test_without_systemd_the_error_names_the_other_ways(home: CliHome) -> None:
    home.environment["HOLDFAST_SYSTEMD_RUN"] = str(home.directory / "nothing")
    done = home.run("service", "install", "--user")
    assert done.returncode == 1
    assert "HF3040" in done.stderr
    assert "--cron" in done.stderr
    assert "service run" in done.stderr


def test_a_unit_file_of_somebody_else_is_left_alone(home: CliHome) -> None:
    up(home)
    path = home.directory / "systemd/config/systemd/user" / unit(home)
    path.write_text("[Service]\nExecStart=/bin/true\n")
    done = home.run("service", "install", "--user")
    assert done.returncode == 1
    assert "not ours" in done.stderr
    assert path.read_text() == "[Service]\nExecStart=/bin/true\n"
