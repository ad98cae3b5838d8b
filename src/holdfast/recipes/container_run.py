"""The process that init starts for a container: makes sure that no older one of its name lives, then runs it.

    python -I -S container_run.py ENGINE NAME ARGUMENT…

With podman it becomes podman. Docker's client can die without its container, so there it stays: it passes signals on,
stops the container when asked, and ends as the container ended. Standard library only: nothing else may be needed at
a restart. Invariant: at most one container of NAME runs, whatever was killed before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

REMOVE_TIMEOUT_S = 20.0
ENGINE_FAILED = 125  # the code with which podman and docker say that they themselves failed
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)


def is_docker(engine: str) -> bool:
    return os.path.basename(engine).startswith("docker")


def command(engine: str, name: str, arguments: Sequence[str], environment: dict[str, str]) -> list[str]:
    """The whole command line. Beats from inside reach us by the same socket, and the instance is known by its id."""
    told = ["--env", "HOLDFAST_INSTANCE"] if "HOLDFAST_INSTANCE" in environment else []
    socket = environment.get("NOTIFY_SOCKET", "")
    if socket.startswith("/"):
        told += ["--env", "NOTIFY_SOCKET", "--volume", f"{socket}:{socket}"]
    own = [] if is_docker(engine) else ["--replace", "--cgroups=disabled", "--sdnotify=ignore"]
    return [engine, "run", "--rm", "--name", name, *own, *told, *arguments]


def main(argv: Sequence[str]) -> int:
    engine, name, *arguments = argv
    line = command(engine, name, arguments, dict(os.environ))
    if not is_docker(engine):
        try:
            os.execv(engine, line)
        except OSError as error:
            print(f"{engine} cannot be run: {error.strerror}", file=sys.stderr)
        return ENGINE_FAILED
    return _docker(engine, name, line)


def _docker(engine: str, name: str, line: list[str]) -> int:
    stop_asked = False
    child: subprocess.Popen[bytes] | None = None

    def passed_on(number: int, frame: object) -> None:
        nonlocal stop_asked
        stop_asked = stop_asked or number in (signal.SIGTERM, signal.SIGINT)
        if child is not None and child.poll() is None:
            child.send_signal(number)

    for number in _PASSED_ON:
        signal.signal(number, passed_on)
    if not _remove(engine, name):
        return ENGINE_FAILED
    if stop_asked:
        return 128 + signal.SIGTERM
    child = subprocess.Popen(line)
    while True:
        try:
            code = child.wait()
            break
        except InterruptedError:
            continue
    if code < 0 or stop_asked:
        _remove(engine, name)  # its client is gone, which says nothing about the container
    return 128 - code if code < 0 else code


def _remove(engine: str, name: str) -> bool:
    """Take away what is left of that name; False (and said) when the engine does not answer."""
    try:
        done = subprocess.run(
            [engine, "rm", "--force", name], capture_output=True, timeout=REMOVE_TIMEOUT_S, text=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{engine} does not answer: {error}", file=sys.stderr)
        return False
    missing = "no such container" in done.stderr.lower()
    if done.returncode and not missing:
        print(f"{engine} rm {name}: {done.stderr.strip()}", file=sys.stderr)
    return done.returncode == 0 or missing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
