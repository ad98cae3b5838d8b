"""A program named pm2 with a daemon, as faithful as an adoption needs: it restarts what ends, unless it was stopped.

`pm2 start PROGRAM --name NAME -- ARGUMENTS` and `start NAME`, `stop`, `save [--force]`, `resurrect`, `jlist`, `kill`.
The daemon calls itself "PM2 v7.0.4: God", gives its apps pm2's variables, ends them by SIGINT and, 1.6 s
later, SIGKILL, and keeps its list in dump.pm2 only when told to save. Deleting is refused: nobody may delete an app.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

KILL_S = 1.6
PR_SET_NAME = 15


def install(directory: Path) -> dict[str, str]:
    """Make the program below `directory`; the environment in which it is found and has a home of its own."""
    programs = directory / "pm2-bin"
    programs.mkdir(parents=True)
    path = programs / "pm2"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} "$@"\n')
    path.chmod(0o755)
    return {"PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}", "PM2_HOME": str(directory / ".pm2")}


class Daemon:
    """The apps: name -> command, environment, whether it shall run, process."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.apps: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def serve(self) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(self.home / "rpc.sock"))
            server.listen()
            server.settimeout(0.02)
            while True:
                self._keep_alive()
                with contextlib.suppress(TimeoutError):
                    client, _ = server.accept()
                    with client, client.makefile("rw") as stream:
                        answer = self.answer(json.loads(stream.readline()))
                        stream.write(json.dumps(answer) + "\n")
                        stream.flush()
                        if answer == "bye":
                            return

    def answer(self, asked: dict[str, Any]) -> object:
        verb, name = asked["verb"], asked.get("name", "")
        if verb == "start" and "argv" in asked:
            self.apps[name] = {"argv": asked["argv"], "env": asked["env"], "status": "online", "restart_time": 0}
            self._start(name)
        elif verb in ("start", "stop") and name not in self.apps:
            return {"error": f"[PM2][ERROR] Process or Namespace {name} not found"}
        elif verb == "start":
            if name not in self.processes:
                self._start(name)
        elif verb == "stop":
            self.apps[name]["status"] = "stopped"
            self._end(name)
        elif verb == "save":
            if self.apps or asked["force"]:
                entries = [self._entry(each) for each in self.apps]
                (self.home / "dump.pm2").write_text(json.dumps(entries))
        elif verb == "resurrect":
            for entry in json.loads((self.home / "dump.pm2").read_text()):
                known = {"argv": [entry["pm_exec_path"], *entry["args"]], "env": entry["env"], "restart_time": 0}
                self.apps.setdefault(entry["name"], {**known, "status": entry["status"]})
                if entry["status"] == "online" and entry["name"] not in self.processes:
                    self._start(entry["name"])
        elif verb == "kill":
            for each in self.apps:
                self._end(each)
            return "bye"
        return [{"name": each, "pid": self._pid(each), "pm2_env": self._entry(each)} for each in self.apps]

    def _start(self, name: str) -> None:
        app = self.apps[name]
        app["status"] = "online"
        own = {"name": name, "pm_id": "0", "status": "launching", "PM2_HOME": str(self.home), "version": "N/A"}
        self.processes[name] = subprocess.Popen(
            app["argv"], env={**app["env"], **own}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        (self.home / "pids" / f"{name}-0.pid").write_text(str(self.processes[name].pid))

    def _end(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is not None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(KILL_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        (self.home / "pids" / f"{name}-0.pid").unlink(missing_ok=True)

    def _keep_alive(self) -> None:
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.apps[name]["restart_time"] += 1
                self._start(name)

    def _pid(self, name: str) -> int:
        return self.processes[name].pid if name in self.processes else 0

    def _entry(self, name: str) -> dict[str, Any]:
        app = self.apps[name]
        return {
            "name": name, "pm_exec_path": app["argv"][0], "args": app["argv"][1:], "exec_interpreter": "none",
            "env": app["env"], "status": app["status"], "restart_time": app["restart_time"], "pm_cwd": "/",
        }  # fmt: skip


def ask(home: Path, asked: dict[str, Any]) -> object:
    """Ask the daemon, which is started when there is none."""
    deadline = time.monotonic() + 30
    started = False
    while True:
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.connect(str(home / "rpc.sock"))
            with client.makefile("rw") as stream:
                stream.write(json.dumps(asked) + "\n")
                stream.flush()
                return json.loads(stream.readline())
        if not started:
            started = True
            (home / "pids").mkdir(parents=True, exist_ok=True)
            (home / "rpc.sock").unlink(missing_ok=True)
            subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), "daemon", str(home)], cwd="/", start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(home / "daemon.log").open("a"),
            )  # fmt: skip
        assert time.monotonic() < deadline, "pm2's daemon does not answer"
        time.sleep(0.02)


def main() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["daemon"]:
        ctypes.CDLL(None).prctl(PR_SET_NAME, b"PM2 v7.0.4: God", 0, 0, 0)
        Daemon(Path(arguments[1])).serve()
        return 0
    home = Path(os.environ["PM2_HOME"])
    verb, rest = arguments[0], arguments[1:]
    if verb not in ("start", "stop", "save", "resurrect", "jlist", "kill"):
        print(f"pm2 {verb}: nobody may do that", file=sys.stderr)
        return 1
    asked: dict[str, Any] = {"verb": verb, "force": "--force" in rest}
    if rest and not rest[0].startswith("--"):
        asked["name"] = rest[0]
    if "--name" in rest:
        behind = rest[rest.index("--") + 1 :]
        asked |= {"name": rest[rest.index("--name") + 1], "argv": [rest[0], *behind], "env": dict(os.environ)}
    answer = ask(home, asked)
    if isinstance(answer, dict) and "error" in answer:
        print(answer["error"], file=sys.stderr)
        return 1
    print(json.dumps(answer) if verb == "jlist" else "[PM2] done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
