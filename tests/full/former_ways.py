"""A machine on which a real agent is kept alive in its former way: by its unit as its installer writes it, or by hand.

Invariants: nothing outside of one folder is written; every process that is started is ended by `close`. `Writers`
watches who writes a state directory, many times a second. Used by test_real_adoption.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.full.hermes_home import HermesHome
from tests.full.openclaw_home import OpenclawHome
from tests.full.processes import Process, marked
from tests.harness import fake_systemd

COMMAND_TIMEOUT_S = 600.0
LOOK_S = 0.02
SOURCE = Path(__file__).resolve().parents[2] / "src"


class Machine:
    """One user's home, units and Holdfast."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hf-adopt-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.say = say
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENCLAW_", "HERMES_"))}
        self.environment = {
            **kept,
            **fake_systemd.install(self.folder / "systemd"),
            "HOME": str(self.folder),
            "HOLDFAST_HOME": str(self.folder / "hf"),
            "PYTHONPATH": os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        self.units = self.folder / "systemd/config/systemd/user"
        self.file = self.folder / "holdfast.yaml"
        self.units_begun: set[str] = set()

    def holdfast(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "holdfast.cli", *arguments]
        return subprocess.run(
            program, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip

    def must(self, *arguments: str) -> str:
        began = time.monotonic()
        done = self.holdfast(*arguments)
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}{self.evidence()}"
        self.say(f"holdfast {' '.join(arguments)}: {time.monotonic() - began:.1f} s")
        return done.stdout + done.stderr

    def killed_in(self, step: str, *arguments: str) -> None:
        """`holdfast ARGUMENTS`, killed as soon as it has begun the step."""
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.cli", *arguments], env=self.environment, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        while step not in self.begun():
            assert process.poll() is None, f"{arguments} ended before its step {step}\n{self.evidence()}"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.wait()
        assert not self.journal()["finished"]

    def journal(self) -> dict[str, Any]:
        for path in (self.folder / "hf/adoption").glob("*.json"):
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        return {}

    def begun(self) -> list[str]:
        return list(self.journal().get("begun", ()))

    def row(self, name: str) -> dict[str, Any]:
        answer = json.loads(self.holdfast("ps", "--json").stdout or "{}")
        return next((row for row in answer.get("agents", ()) if row["name"] == name), {})

    def systemctl(self, *arguments: str) -> str:
        self.units_begun.add(arguments[-1])
        program = str(self.folder / "systemd/bin/systemctl")
        done = subprocess.run(
            [program, "--user", *arguments], env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    def unit(self, name: str, text: str) -> None:
        """As an installer leaves it: written, enabled and started."""
        (self.units / name).write_text(text)
        self.systemctl("enable", name)
        self.systemctl("start", name)

    def unit_says(self, name: str) -> tuple[bool, bool]:
        """Whether it is active, whether it is enabled."""
        shown = self.systemctl("show", name)
        return "ActiveState=active" in shown, "UnitFileState=enabled" in shown

    def evidence(self) -> str:
        logs = [*(self.folder / "systemd/state").glob("*.log"), *(self.folder / "hf/adoption").glob("*.output")]
        tails = [f"--- {path}\n{path.read_text(errors='replace')[-3000:]}" for path in logs]
        return "\n".join([f"journal: {self.journal()}", self.holdfast("events").stdout[-3000:], *tails])

    def close(self) -> None:
        self.holdfast("down", "--timeout", "60")
        for process in marked(str(self.folder)):
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not os.environ.get("HOLDFAST_TEST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


class Writers:
    """Who runs a gateway on one state directory, looked at many times a second. `with Writers(state) as writers`."""

    def __init__(self, state: Path) -> None:
        self.mark = os.fsencode(state)
        self.seen: list[Process] = []  # every gateway there was, in order
        self.most = 0  # at one time
        self.looks = 0
        self._foreign = set(_pids()) - {process.pid for process in marked(str(state))}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Writers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def living(self) -> list[Process]:
        """The gateways there are now; the helpers of one do not count."""
        found = {}
        for pid in set(_pids()) - self._foreign:
            try:
                if self._is_gateway(pid):
                    found[pid] = Process.of(pid)
            except (OSError, ValueError, IndexError):
                continue
        return [one for pid, one in found.items() if one.alive and _parent(pid) not in found]

    def _is_gateway(self, pid: int) -> bool:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if not any(each.startswith((b"HERMES_HOME=", b"OPENCLAW_STATE_DIR=")) and self.mark in each
                   for each in environment):  # fmt: skip
            return False
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        program = os.path.basename(words[0])
        if program in (b"openclaw-gateway", b"openclaw"):
            return True
        is_interpreter = program.startswith((b"node", b"python"))
        return is_interpreter and b"gateway" in words and not any(b"holdfast" in each for each in words[:6])

    def _watch(self) -> None:
        while not self._end.is_set():
            living = self.living()
            self.looks += 1
            self.most = max(self.most, len(living))
            self.seen += [each for each in living if each not in self.seen]
            self._end.wait(LOOK_S)


def hermes_unit(home: HermesHome) -> tuple[str, str]:
    """Name and text, made by the very code that `hermes gateway install` uses."""
    asked = (
        "import json; from hermes_cli.gateway import generate_systemd_unit, get_service_name;"
        "print(json.dumps([get_service_name() + '.service', generate_systemd_unit()]))"
    )
    python = str(home.installed.hermes / "bin/python")
    done = subprocess.run(
        [python, "-c", asked], env=home.environment(), check=True, capture_output=True, text=True, timeout=120
    )
    name, text = json.loads(done.stdout.splitlines()[-1])
    return name, text


def openclaw_unit(home: OpenclawHome, secret: str) -> tuple[str, str]:
    """Name and text, made by the very code that `openclaw gateway install` uses; secrets in a file of its own."""
    dist = home.installed.openclaw / "node_modules/openclaw/dist"
    file = home.state_dir / "gateway.systemd.env"
    file.write_text(f'MY_SECRET="{secret}"\n')
    file.chmod(0o600)
    asked = f"""
    const load = async (name, wanted) => {{
      const file = (await import("node:fs")).readdirSync({json.dumps(str(dist))}).find(
        (each) => each.startsWith(name + "-") && each.endsWith(".mjs"));
      const found = Object.values(await import({json.dumps(str(dist))} + "/" + file));
      return found.find((each) => each.name === wanted);
    }};
    const environment = (await load("service-env", "buildServiceEnvironment"))(
      {{ env: process.env, port: {home.port}, runtime: "node" }});
    const text = (await load("systemd-unit", "buildSystemdUnit"))({{
      programArguments: [process.execPath, {json.dumps(str(dist / "index.js"))},
        "gateway", "--port", "{home.port}"],
      environment, environmentFiles: [{json.dumps(str(file))}] }});
    console.log(JSON.stringify(text)); process.exit(0);
    """
    environment = {**home.environment(), "XDG_RUNTIME_DIR": "/nonexistent"}
    for name in [each for each in environment if each.startswith("OPENCLAW_")]:
        if name not in ("OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH"):
            del environment[name]
    done = subprocess.run(
        [str(home.installed.node), "--input-type=module", "-e", asked],
        env=environment, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return "openclaw-gateway.service", str(json.loads(done.stdout.splitlines()[-1]))


def wait_for(good: Callable[[], Any], what: str, timeout_s: float, evidence: Callable[[], str] = str) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if found := good():
                return found
        except OSError:
            pass
        assert time.monotonic() < deadline, f"not {what} after {timeout_s:g} s\n{evidence()}"
        time.sleep(0.1)


def own(folder: Path) -> None:
    """Everything below belongs to this user: the one whose units run it."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, os.getuid(), os.getgid(), follow_symlinks=False)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0
