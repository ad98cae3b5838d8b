"""The demo: examples/fleet.yaml in a throw-away home, used through the command line as a person would.

On a terminal: the live table, until Ctrl-C. Without one: waits until all agents are healthy, kills one agent and the
keeper with kill -9, tells how they came back, deletes what the worker keeps and restores it from a snapshot, stops
everything, and prints one last line of JSON:
{"agents":N,"recovered":[{"name","pid_before","pid_after","restored_s"}],"left_running":0}. Exit code 0 when all came
back, the worker's count too, and nothing is left. Run it by `./dev demo`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from holdfast.cli.client import KeeperClient
from holdfast.errors import HoldfastError
from holdfast.home import Home

EXAMPLES = Path(__file__).resolve().parent
START_MAX_S = 120.0
RECOVERY_MAX_S = 60.0
DOWN_MAX_S = 60.0
LOOK_S = 0.005
VICTIM = "web"
KEEPER_OF_STATE = "worker"  # its count is the state of the demo


class Stage:
    """A copy of the examples and a home, both in one temporary directory that every user can pass through."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
        os.chmod(self.directory, 0o755)
        self.home = self.directory / "home"
        shutil.copytree(EXAMPLES / "agents", self.directory / "agents")
        for path in (self.directory / "agents", *(self.directory / "agents").iterdir()):
            os.chmod(path, 0o755)
        self.count = self.directory / "kept" / "data" / "count"
        self.count.parent.parent.mkdir()
        os.chmod(self.count.parent.parent, 0o777)  # the worker, whoever it runs as, makes the directory of its state
        self.spec = self.directory / "fleet.yaml"
        self.spec.write_text(adapt((EXAMPLES / "fleet.yaml").read_text()))

    def cli(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", "-m", "holdfast.cli", "--home", str(self.home), *arguments]

    def status(self) -> Any:
        """What `ps --json` shows; None while the keeper is away. Asked directly: starting a command costs 80 ms."""
        try:
            return KeeperClient(Home(self.home), timeout_s=5.0).get("/v1/status")
        except HoldfastError:
            return None

    def wait_for_status(self) -> Any:
        """The same; waits for a keeper that is being replaced this moment. Its absence is an answer in the end."""
        deadline = time.monotonic() + RECOVERY_MAX_S
        status = self.status()
        while status is None and time.monotonic() < deadline:
            time.sleep(LOOK_S)
            status = self.status()
        return status or {"agents": [], "holdfast": {"processes": []}}

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


def adapt(text: str) -> str:
    """The example with a free port, an interpreter that the agents' users can reach, and a worker whose state is kept.

    As root an agent's user makes no directory beside the example, so the example itself declares no state.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    interpreter, shared = agents_python()
    text = text.replace("18080", str(port)).replace("[python3,", f"[{interpreter},")
    keeping = "\n    env: {STATE: ../kept/data/count}\n    state: {paths: [kept/data], every: 5s}"
    text = text.replace("worker.py]", f"worker.py]{keeping}")
    if not shared:
        say(f"note: {interpreter} is out of reach for other users, so the agents run as root here")
        text = text.replace("    labels: {fleet: example}", "    labels: {fleet: example}\n    user: root")
    return text


def agents_python() -> tuple[str, bool]:
    """A Python for the agents, and whether any user may run it."""
    if os.getuid() != 0:
        return sys.executable, True
    for candidate in ("/usr/bin/python3", "/usr/local/bin/python3", os.path.realpath(sys.executable)):
        if os.access(candidate, os.X_OK) and open_to_all(Path(candidate).resolve()):
            return candidate, True
    return os.path.realpath(sys.executable), False


def open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def say(text: str) -> None:
    print(text, flush=True)


def live(stage: Stage) -> int:
    """The table, until Ctrl-C; the command stops everything itself."""
    say(f"the home is {stage.home}; in a second terminal try:\n  {' '.join(stage.cli('ps'))}")
    say("kill any of the processes you see, Holdfast's own too (kill -9), and watch\n")
    process = subprocess.Popen(stage.cli("up", "-f", str(stage.spec)))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the command got the same Ctrl-C and is stopping everything


def show(stage: Stage) -> int:
    """The same without a terminal, as a story with figures."""
    began = time.monotonic()
    say(f"starting {stage.spec} in {stage.home}")
    up = subprocess.run(stage.cli("up", "-f", str(stage.spec), "-d", "--wait", "--timeout", f"{START_MAX_S:g}"))
    if up.returncode != 0:
        return up.returncode
    say(f"\nall agents were healthy {time.monotonic() - began:.1f} s after the start:")
    subprocess.run(stage.cli("ps"))
    status = stage.wait_for_status()
    recovered = [kill_agent(stage, status), kill_keeper(stage)]
    kept = lose_state(stage)
    say("\nwhat Holdfast wrote down about it:")
    subprocess.run(stage.cli("incidents"))
    identity = home_identity(stage)
    say("\nstopping everything")
    began = time.monotonic()
    down = subprocess.run(stage.cli("down", "--timeout", f"{DOWN_MAX_S:g}"))
    left = left_running(stage, identity)
    say(f"stopped in {time.monotonic() - began:.1f} s; processes left: {len(left)} {left or ''}")
    good = down.returncode == 0 and not left and kept and all(entry["pid_after"] for entry in recovered)
    result = {"agents": len(status["agents"]), "recovered": recovered, "left_running": len(left)}
    say(json.dumps(result, separators=(",", ":")))
    return 0 if good else 1


def kill_agent(stage: Stage, status: dict[str, Any]) -> dict[str, Any]:
    """kill -9 of one agent; restored when a new instance of it runs and passes its checks."""
    before = {row["name"]: row for row in status["agents"]}
    pid = before[VICTIM]["pid"]
    say(f"\nkill -9 {pid}, the agent {VICTIM}")

    def look() -> int | None:
        now = rows(stage.status())
        row = now.get(VICTIM)
        if row is None or row["pid"] in (None, pid):
            return None
        good = row["health"]["process"] == "ok" and row["health"]["endpoint"] in ("ok", "off")
        return row["pid"] if good else None

    return recover(VICTIM, pid, look, "is back and answers")


def kill_keeper(stage: Stage) -> dict[str, Any]:
    """kill -9 of the keeper; restored when a new one answers. No agent may notice."""
    status = stage.wait_for_status()
    before = {name: row["pid"] for name, row in rows(status).items()}
    pid = own_pid(status, "keeper")
    say(f"\nkill -9 {pid}, Holdfast's own keeper")

    def look() -> int | None:
        now = own_pid(stage.status(), "keeper")
        return now if now not in (None, pid) else None

    entry = recover("keeper", pid or 0, look, "answers again")
    after = {name: row["pid"] for name, row in rows(stage.wait_for_status()).items()}
    same = sum(after.get(name) == agent_pid for name, agent_pid in before.items())
    say(f"  {same} of {len(before)} agents kept their process meanwhile")
    return entry


def lose_state(stage: Stage) -> bool:
    """Delete what the worker keeps, and restore it from a snapshot. Whether it goes on where it was."""
    say(f"\na snapshot of what {KEEPER_OF_STATE} keeps, then its directory is deleted")
    done = subprocess.run(stage.cli("snapshot", KEEPER_OF_STATE, "--label", "demo", "--json"), capture_output=True)
    if done.returncode:
        say(f"  no snapshot: {done.stderr.decode(errors='replace').strip()}")
        return False
    snapshot, before = json.loads(done.stdout)["id"], jobs(stage)
    os.rename(stage.count.parent, stage.directory / "deleted")
    shutil.rmtree(stage.directory / "deleted", ignore_errors=True)
    again = wait_for(lambda: 0 < jobs(stage) < before)
    say(
        f"  it was at job {before}; without its files it begins anew, at job {jobs(stage)}" if again else "  it is gone"
    )
    say(f"holdfast restore {KEEPER_OF_STATE} {snapshot[:12]} --yes")
    began = time.monotonic()
    subprocess.run(stage.cli("restore", KEEPER_OF_STATE, snapshot, "--yes"))
    if not wait_for(lambda: jobs(stage) > before):
        say(f"  its count did not come back: it is at job {jobs(stage)}, and was at {before}")
        return False
    say(f"  it goes on at job {jobs(stage)}, {time.monotonic() - began:.1f} s after the command was given")
    return True


def jobs(stage: Stage) -> int:
    """How many the worker has done, by its file; 0 when there is none."""
    try:
        return int(stage.count.read_text())
    except (OSError, ValueError):
        return 0


def wait_for(look: Any) -> bool:
    deadline = time.monotonic() + RECOVERY_MAX_S
    while not look() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(look())


def recover(name: str, pid: int, look: Any, words: str) -> dict[str, Any]:
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    after = None
    while after is None and time.monotonic() - killed < RECOVERY_MAX_S:
        after = look()
        time.sleep(LOOK_S)
    restored = round(time.monotonic() - killed, 3)
    if after is None:
        say(f"  {name} did not come back within {RECOVERY_MAX_S:g} s")
    else:
        say(f"  {name} {words} as pid {after} after {restored} s")
    return {"name": name, "pid_before": pid, "pid_after": after, "restored_s": restored}


def rows(status: Any) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in (status or {}).get("agents", [])}


def own_pid(status: Any, name: str) -> int | None:
    processes = ((status or {}).get("holdfast") or {}).get("processes", [])
    return next((process["pid"] for process in processes if process["name"] == name), None)


def home_identity(stage: Stage) -> str:
    return (stage.home / "home.id").read_text().strip()


def left_running(stage: Stage, identity: str) -> list[int]:
    """Processes that still belong to this home: agents by their environment, Holdfast's own by their arguments."""
    marker = f"HOLDFAST_INSTANCE={identity}:".encode()
    home = os.fsencode(stage.home)
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        if int(entry) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{entry}/environ").read_bytes()
            command = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        if marker in environment or re.search(rb"(?:^|\0)" + re.escape(home) + rb"(?:\0|$)", command):
            found.append(int(entry))
    return sorted(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", action="store_true", help="tell the story even on a terminal")
    plain = parser.parse_args().plain or not sys.stdout.isatty()
    os.environ.pop("HOLDFAST_HOME", None)
    os.environ["HOLDFAST_USERS"] = "numeric"  # as root: agents get users by number, no account is made for a demo
    # Whoever started us may end us with TERM: everything must still be stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    stage = Stage()
    say(f"Holdfast demo, as {'root' if os.getuid() == 0 else 'an ordinary user'}")
    try:
        return show(stage) if plain else live(stage)
    except KeyboardInterrupt:
        return 130
    finally:
        subprocess.run(stage.cli("down", "--timeout", f"{DOWN_MAX_S:g}"), capture_output=True)
        stage.remove()


if __name__ == "__main__":
    sys.exit(main())
