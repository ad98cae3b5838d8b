"""`holdfast adopt` of a gateway that runs: there, back, and interrupted in the middle; one writer at any time."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.cli_home import HOLDFAST, PATIENCE_S, CliHome, cli_home, wait_until
from tests.harness import fake_hermes, fake_pm2, fake_systemd
from tests.harness.ports import free_port

UNIT = "hermes-gateway.service"
FILE = """\
# my fleet
version: 1
agents:   # keep this comment
  other: {command: [sleep, "1000"], working_dir: /tmp}

x-note: stays
"""


@dataclass
class Gateway:
    home: CliHome
    port: int
    venv: Path
    state: Path

    def writers(self) -> list[str]:
        path = self.state / "writers"
        return path.read_text().splitlines() if path.exists() else []

    def alive(self) -> set[int]:
        """Pids that have begun and not ended; never more than one at a time."""
        living: set[int] = set()
        for line in self.writers():
            word, pid = line.split()[:2]
            living = living | {int(pid)} if word == "start" else living - {int(pid)}
            assert len(living) <= 1, self.writers()
        return {pid for pid in living if fake_systemd.starttime(pid) > 0}

    def answers(self) -> dict[str, str]:
        """As soon as it listens."""
        wait_until(lambda: listens(self.port), "its port")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=PATIENCE_S) as response:
            found: dict[str, str] = json.loads(response.read())
        return found

    def systemctl(self, *arguments: str) -> str:
        program = self.home.directory / "systemd/bin/systemctl"
        done = subprocess.run(
            [str(program), "--user", *arguments], env=self.home.environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    def adopt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.home.run("adopt", *arguments)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with cli_home() as home:
        home.environment.update(fake_systemd.install(home.directory / "systemd"))
        home.environment["HOME"] = str(home.directory)
        port = free_port()
        venv, state = fake_hermes.install(home.directory, port)
        unit = home.directory / "systemd/config/systemd/user" / UNIT
        unit.write_text(
            f"[Service]\nExecStart={venv}/bin/hermes gateway run\n"
            f"Environment=HERMES_HOME={state} MY_KEY=carried\nRestart=always\n[Install]\nWantedBy=default.target\n"
        )
        made = Gateway(home, port, venv, state)
        home.write(FILE.replace("working_dir: /tmp", "working_dir: /tmp, user: root") if os.getuid() == 0 else FILE)
        made.systemctl("enable", UNIT)
        made.systemctl("start", UNIT)
        wait_until(made.alive, "the gateway under its unit")
        wait_until(lambda: listens(port), "its port")
        try:
            yield made
        finally:
            made.systemctl("stop", UNIT)
            home.end()
            for pid in made.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_a_gateway_is_taken_over_in_place_and_given_back(gateway: Gateway) -> None:
    home, before = gateway.home, (gateway.home.directory / "holdfast.yaml").read_text()
    plan = gateway.adopt("hermes", "--dry-run", "--json")
    assert plan.returncode == 0, plan.stderr
    found = json.loads(plan.stdout)
    assert (found["state_dir"], found["port"]) == (str(gateway.state), gateway.port)
    assert "secret" not in plan.stdout
    assert gateway.adopt("hermes").returncode == 2  # no terminal to ask on
    assert (home.directory / "holdfast.yaml").read_text() == before

    done = gateway.adopt("hermes", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    row = home.agents()["hermes"]
    assert gateway.alive() == {row["pid"]}
    assert any(line.endswith("planned") for line in gateway.writers())
    assert gateway.answers()["key"] == "carried"
    shown = gateway.systemctl("show", UNIT)
    assert "ActiveState=inactive" in shown
    assert "UnitFileState=disabled" in shown
    text = (home.directory / "holdfast.yaml").read_text()
    assert "# my fleet" in text
    assert "# keep this comment" in text
    assert "carried" not in text
    assert home.run("check").returncode == 0, home.run("check").stdout

    back = gateway.adopt("undo")
    assert back.returncode == 0, back.stdout + back.stderr
    shown = gateway.systemctl("show", UNIT)
    assert "ActiveState=active" in shown
    assert "UnitFileState=enabled" in shown
    wait_until(gateway.alive, "the unit's gateway")
    assert (home.directory / "holdfast.yaml").read_text() == before
    assert "hermes" not in home.agents()
    assert gateway.adopt("undo").returncode == 4


@pytest.mark.parametrize(
    ("step", "way"),
    [("declare", "--undo"), ("stop", "--resume"), ("stop", "--undo"), ("up", "--resume"), ("up", "--undo")],
)
def test_an_adoption_killed_in_any_step_is_finished_or_undone(gateway: Gateway, step: str, way: str) -> None:
    home, before = gateway.home, (gateway.home.directory / "holdfast.yaml").read_text()
    journal = home.path / "adoption/hermes.json"
    process = subprocess.Popen(
        [*HOLDFAST, "adopt", "hermes", "--yes"],
        env=home.environment, cwd=home.directory, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def reached() -> bool:
        return journal.exists() and step in json.loads(journal.read_text())["begun"]

    wait_until(lambda: reached() or process.poll() is not None, f"step {step}")
    process.kill()
    process.wait()
    finished = journal.exists() and json.loads(journal.read_text())["finished"]
    if not finished:
        refused = gateway.adopt("hermes", "--yes")
        assert "HF2040" in refused.stderr
    if finished and way == "--resume":
        pytest.skip("it was done before the kill arrived")
    done = gateway.adopt(way, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    if way == "--resume":
        assert gateway.alive() == {home.agents()["hermes"]["pid"]}
        assert "ActiveState=inactive" in gateway.systemctl("show", UNIT)
    else:
        wait_until(gateway.alive, "the unit's gateway")
        shown = gateway.systemctl("show", UNIT)
        assert "ActiveState=active" in shown
        assert "UnitFileState=enabled" in shown
        assert (home.directory / "holdfast.yaml").read_text() == before


def test_what_cannot_become_healthy_goes_back_to_its_former_way_by_itself(gateway: Gateway) -> None:
    before = (gateway.home.directory / "holdfast.yaml").read_text()
    program = gateway.venv / "bin/hermes"
    program.write_text(
        program.read_text().replace("writers = ", "if 'HOLDFAST_INSTANCE' in os.environ: sys.exit(1)\nwriters = ")
    )
    done = gateway.adopt("hermes", "--yes", "--timeout", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "HF2042" in done.stderr
    wait_until(gateway.alive, "the unit's gateway")
    assert "ActiveState=active" in gateway.systemctl("show", UNIT)
    assert (gateway.home.directory / "holdfast.yaml").read_text() == before


def test_a_gateway_started_by_hand_is_started_by_hand_again(gateway: Gateway) -> None:
    gateway.systemctl("stop", UNIT)
    unit = gateway.home.directory / "systemd/config/systemd/user" / UNIT
    unit.unlink()
    environment = {"PATH": os.defpath, "HERMES_HOME": str(gateway.state), "MY_KEY": "by hand", "HOME": "/tmp"}
    process = subprocess.Popen(
        [str(gateway.venv / "bin/hermes"), "gateway", "run"], env=environment, start_new_session=True, cwd="/tmp"
    )
    wait_until(lambda: listens(gateway.port), "its port")
    done = gateway.adopt("hermes", "--yes", "--state", str(gateway.state))
    assert done.returncode == 0, done.stdout + done.stderr
    process.wait(PATIENCE_S)
    assert gateway.answers()["key"] == "by hand"
    back = gateway.adopt("undo")
    assert back.returncode == 0, back.stdout + back.stderr
    (pid,) = wait_until(gateway.alive, "the gateway started by hand")
    assert b"HERMES_HOME=" in Path(f"/proc/{pid}/environ").read_bytes()
    assert gateway.answers()["key"] == "by hand"


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "unsaved"])
def test_an_app_of_pm2_is_stopped_and_started_again_and_never_deleted(gateway: Gateway, saved: bool) -> None:
    home = gateway.home
    gateway.systemctl("stop", UNIT)
    (home.directory / "systemd/config/systemd/user" / UNIT).unlink()
    own = fake_pm2.install(home.directory)
    home.environment |= {**own, "PATH": f"{home.directory}/pm2-bin:{home.environment['PATH']}"}
    dump = home.directory / ".pm2/dump.pm2"

    def pm2(*arguments: str, **env: str) -> str:
        done = subprocess.run(
            ["pm2", *arguments], env={**home.environment, **env}, check=True, capture_output=True, text=True
        )
        return done.stdout

    def app() -> tuple[str, int]:
        (found,) = json.loads(pm2("jlist"))
        return found["pm2_env"]["status"], found["pid"]

    program = str(gateway.venv / "bin/hermes")
    started = {"HERMES_HOME": str(gateway.state), "MY_KEY": "of pm2"}
    pm2("start", program, "--name", "bot", "--", "gateway", "run", **started)
    try:
        if saved:
            pm2("save")
        wait_until(lambda: listens(gateway.port), "its port")
        done = gateway.adopt("hermes", "--yes", "--state", str(gateway.state))
        assert done.returncode == 0, done.stdout + done.stderr
        assert app() == ("stopped", 0)
        assert gateway.alive() == {home.agents()["hermes"]["pid"]}
        assert gateway.answers()["key"] == "of pm2"
        carried = (home.path / "adoption/hermes.env").read_text()
        assert "pm_id" not in carried
        assert not any(line.startswith("name=") for line in carried.splitlines())
        assert dump.exists() == saved
        if saved:
            assert json.loads(dump.read_text())[0]["status"] == "stopped"
            pm2("kill")  # as at a reboot: the next pm2 knows only what was saved
        back = gateway.adopt("undo")
        assert back.returncode == 0, back.stdout + back.stderr
        wait_until(lambda: gateway.alive() == {app()[1]}, "the app of pm2")
        assert gateway.answers()["key"] == "of pm2"
        assert dump.exists() == saved
        if saved:
            assert json.loads(dump.read_text())[0]["status"] == "online"
    finally:
        pm2("kill")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may manage units of the system")
def test_root_takes_over_a_system_unit_of_another_user_and_the_gateway_stays_that_users(gateway: Gateway) -> None:
    """In a mount namespace of its own for each command, so that this machine's units stay as they are."""
    home = gateway.home
    gateway.systemctl("stop", UNIT)
    (home.directory / "systemd/config/systemd/user" / UNIT).unlink()
    units = home.directory / "system-units"
    units.mkdir()
    secrets = home.directory / "secrets.env"
    secrets.write_text('MY_KEY="from a file"\n')
    secrets.chmod(0o600)
    (units / "assistant.service").write_text(
        f"[Service]\nUser=nobody\nExecStart={gateway.venv}/bin/hermes gateway run\n"
        f"EnvironmentFile={secrets}\nEnvironment=HERMES_HOME={gateway.state}\n[Install]\nWantedBy=default.target\n"
    )
    owner = pwd.getpwnam("nobody").pw_uid
    program = gateway.venv / "bin/hermes"
    program.write_text(program.read_text().replace(sys.executable, "/usr/bin/python3"))  # one that others can reach
    for path in (gateway.state, *gateway.state.iterdir()):
        os.chown(path, owner, owner)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        script = f'mount --bind {units} /etc/systemd/system && exec "$@"'
        return subprocess.run(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *command],
            env=home.environment, cwd=home.directory, capture_output=True, text=True, check=False,
        )  # fmt: skip

    if shutil.which("unshare") is None or run("/usr/bin/python3", "-c", "").returncode != 0:
        pytest.skip("no mount namespaces here, no /etc/systemd/system to stand in for, or no /usr/bin/python3")
    systemctl = str(home.directory / "systemd/bin/systemctl")
    assert run(systemctl, "enable", "assistant.service").returncode == 0
    assert run(systemctl, "start", "assistant.service").returncode == 0
    try:
        wait_until(lambda: listens(gateway.port), "its port")
        done = run(*HOLDFAST, "adopt", "hermes", "--yes", "--state", str(gateway.state))
        assert done.returncode == 0, done.stdout + done.stderr
        pid = home.agents()["hermes"]["pid"]
        assert gateway.alive() == {pid}
        assert os.stat(f"/proc/{pid}").st_uid == owner
        assert gateway.answers()["key"] == "from a file"
        assert "from a file" not in (home.directory / "holdfast.yaml").read_text()
        assert (home.path / "adoption/hermes.env").stat().st_mode & 0o777 == 0o600
        assert "UnitFileState=disabled" in run(systemctl, "show", "assistant.service").stdout
        done = run(*HOLDFAST, "adopt", "undo", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        (again,) = wait_until(gateway.alive, "the unit's gateway")
        assert os.stat(f"/proc/{again}").st_uid == owner
        assert "UnitFileState=enabled" in run(systemctl, "show", "assistant.service").stdout
    finally:
        run(systemctl, "stop", "assistant.service")
