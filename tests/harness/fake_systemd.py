"""Programs named systemctl, loginctl and systemd-run for machines without systemd; unit state lives in files.

The fake does what systemd does with the units it is given: it starts ExecStart in a session of its own, stops by TERM
to the main process alone (KillMode=process, mixed) or to the whole tree (else), waits TimeoutStopSec, kills, and keeps
enabled units as links. It reads drop-ins of $XDG_RUNTIME_DIR/systemd/user. It does not restart on failure. Units lie in
$XDG_CONFIG_HOME/systemd/user, the system's (User= counts there) in /etc/systemd/system; state in $FAKE_SYSTEMD.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

VERSION = "systemd 255 (255.4-fake)"


def install(directory: Path) -> dict[str, str]:
    """Make the programs below `directory`; the environment that makes others find them."""
    programs, state, config = directory / "bin", directory / "state", directory / "config"
    for each in (programs, state, config / "systemd/user", directory / "linger"):
        each.mkdir(parents=True, exist_ok=True)
    for name in ("systemctl", "loginctl"):
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} {name} "$@"\n')
        path.chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
        "FAKE_SYSTEMD": str(state),
        "XDG_CONFIG_HOME": str(config),
        "XDG_RUNTIME_DIR": str(directory),
        "HOLDFAST_SYSTEMD_RUN": str(state),
    }


class Unit:
    def __init__(self, name: str, system: bool) -> None:
        self.name = Path(name).name
        self.system = system
        config = "/etc/systemd/system" if system else os.path.join(os.environ["XDG_CONFIG_HOME"], "systemd/user")
        self.path = Path(config) / self.name
        self.state = Path(os.environ["FAKE_SYSTEMD"])
        self.enabled = self.path.parent / "default.target.wants" / self.name
        self.pid_file = self.state / f"{self.name}.pid"

    def values(self, key: str) -> list[str]:
        drop_ins = Path(os.environ["XDG_RUNTIME_DIR"], "systemd/user", f"{self.name}.d").glob("*.conf")
        files = [self.path, *sorted(drop_ins)] if self.path.exists() else []
        lines = [line for file in files for line in file.read_text().splitlines()]
        return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]

    def value(self, key: str, default: str = "") -> str:
        return (self.values(key) or [default])[-1]

    @property
    def stop_timeout_s(self) -> float:
        given = self.value("TimeoutStopSec", "90").removesuffix("s")
        return float(given) if given.replace(".", "", 1).isdecimal() else 90.0

    @property
    def pid(self) -> int:
        try:
            pid, started = (int(word) for word in self.pid_file.read_text().split())
        except (OSError, ValueError):
            return 0
        return pid if starttime(pid) == started else 0

    def start(self) -> int:
        if not self.path.exists():
            print(f"Unit {self.name} not found.", file=sys.stderr)
            return 5
        if self.pid:
            return 0
        environment = {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/"), "INVOCATION_ID": "fake"}
        for line in self.values("Environment"):
            environment.update(word.partition("=")[::2] for word in shlex.split(line.replace("%%", "%")))
        for name in self.values("EnvironmentFile"):
            path = Path(name.removeprefix("-").replace("%%", "%"))
            for line in path.read_text().splitlines() if path.exists() or name[:1] != "-" else ():
                environment.update(word.partition("=")[::2] for word in shlex.split(line, comments=True))
        user = self.value("User") if self.system else ""
        for name in ("FAKE_SYSTEMD", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "HOLDFAST_SYSTEMD_RUN"):
            environment[name] = os.environ[name]
        environment["PATH"] = f"{environment['PATH']}:{os.environ['PATH']}"
        with (self.state / f"{self.name}.log").open("ab") as log:
            process = subprocess.Popen(
                shlex.split(self.value("ExecStart").replace("$$", "$").replace("%%", "%")),
                env=environment,
                cwd=self.value("WorkingDirectory", "/"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **({"user": user, "extra_groups": []} if user else {}),  # type: ignore[call-overload]
            )
        self.pid_file.write_text(f"{process.pid} {starttime(process.pid)}")
        return 0

    def stop(self) -> int:
        main = self.pid
        if not main:
            return 0
        if self.value("ExecStop"):
            environment = {**os.environ}
            for line in self.values("Environment"):
                environment.update(word.partition("=")[::2] for word in shlex.split(line))
            subprocess.run(shlex.split(self.value("ExecStop")), env=environment, check=False)
        everyone = [main] if self.value("KillMode") == "process" else tree(main)
        ended_by = [(pid, starttime(pid)) for pid in everyone]
        for pid in everyone[:1] if self.value("KillMode") == "mixed" else everyone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + self.stop_timeout_s
        waited_for = ended_by[:1] if self.value("KillMode") == "mixed" else ended_by
        while any(starttime(pid) == started for pid, started in waited_for) and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid, started in ended_by:
            if starttime(pid) == started:
                os.kill(pid, signal.SIGKILL)
        self.pid_file.unlink(missing_ok=True)
        return 0

    def show(self) -> int:
        exists = self.path.exists()
        active = "active" if self.pid else "inactive"
        enabled = "enabled" if self.enabled.is_symlink() else "disabled"
        print(f"LoadState={'loaded' if exists else 'not-found'}\nActiveState={active}\nSubState=running")
        print(f"UnitFileState={enabled if exists else ''}\nMainPID={self.pid}\nFragmentPath={self.path}")
        print(f"TimeoutStopUSec={self.stop_timeout_s:g}s")
        return 0


def starttime(pid: int) -> int:
    """Field 22 of /proc/PID/stat; -1 for no process or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return -1
    return -1 if fields[0] in "ZX" else int(fields[19])


def tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parent = int(Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def systemctl(arguments: list[str]) -> int:
    words = [word for word in arguments if not word.startswith("--")]
    with (Path(os.environ["FAKE_SYSTEMD"]) / "calls").open("a") as calls:
        calls.write(" ".join(words) + "\n")
    if "--version" in arguments:
        print(VERSION)
        return 0
    verb, names = words[0], words[1:]
    if verb in ("daemon-reload", "reset-failed", "show-environment"):
        return 0
    if verb == "is-system-running":
        print((Path(os.environ["FAKE_SYSTEMD"]) / "machine").read_text().strip() if machine_says() else "running")
        return 0
    unit = Unit(names[0], "--user" not in arguments)
    if (Path(os.environ["FAKE_SYSTEMD"]) / f"refuse-{verb}").exists():
        print(f"Failed to {verb} {unit.name}: refused by the test", file=sys.stderr)
        return 1
    if verb == "enable":
        unit.enabled.parent.mkdir(exist_ok=True)
        unit.enabled.unlink(missing_ok=True)
        unit.enabled.symlink_to(unit.path)
        return 0
    if verb == "disable":
        unit.enabled.unlink(missing_ok=True)
        return 0
    if verb == "show":
        return unit.show()
    with unit.pid_file.with_suffix(".lock").open("w") as lock:  # one job of a unit at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if verb == "restart":
            return unit.stop() or unit.start()
        return {"start": unit.start, "stop": unit.stop}[verb]()


def machine_says() -> bool:
    return (Path(os.environ["FAKE_SYSTEMD"]) / "machine").exists()


def main() -> int:
    program, *arguments = sys.argv[1:]
    if program == "systemctl":
        return systemctl(arguments)
    with (Path(os.environ["FAKE_SYSTEMD"]) / "calls").open("a") as calls:
        calls.write(f"{program} {' '.join(arguments)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
