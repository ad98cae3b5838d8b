"""`python -m tests.ordinary_user`: as root, the tests and a crash campaign once more as a user without rights.

The user gets a copy of this tree, an interpreter it can reach and a home of its own, all in one temporary directory
that is removed afterwards. Called by `./dev test-full`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
USER_ID = 29_871  # a number that belongs to nobody; nothing is written into the system's user database
LEFT_BEHIND = {".git", ".venv", ".dev", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis"}
ROUNDS = os.environ.get("HOLDFAST_CRASH_ROUNDS_USER", "200")


def main() -> int:
    if os.getuid() != 0:
        print("not root: the tests run as an ordinary user anyway")
        return 0
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        print("skipped: no setpriv here (apt-get install util-linux)")
        return 0
    directory = Path(tempfile.mkdtemp(prefix="hf-"))
    try:
        tree = directory / "tree"
        shutil.copytree(ROOT, tree, ignore=lambda _path, names: LEFT_BEHIND.intersection(names), symlinks=True)
        for name in ("home", "tmp"):
            (directory / name).mkdir()
        directory.chmod(0o755)
        subprocess.run(["chown", "-R", f"{USER_ID}:{USER_ID}", str(directory)], check=True)
        become = [setpriv, f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups", "--"]
        return _as_user(become, tree, directory)
    finally:
        _end_all()
        shutil.rmtree(directory, ignore_errors=True)


def _environment(directory: Path) -> dict[str, str]:
    passed = ("PATH", "LANG", "CI", "TERM", "HOLDFAST_PYTHON", "HOLDFAST_FAILURES", "HOLDFAST_SECOND_TRY")
    registry = ("PIP_", "UV_INDEX", "SSL_CERT", "REQUESTS_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    kept = {name: value for name, value in os.environ.items() if name in passed or name.upper().startswith(registry)}
    reachable = [part for part in kept.get("PATH", "").split(":") if part and not part.startswith("/root")]
    own = {"HOME": str(directory / "home"), "TMPDIR": str(directory / "tmp"), "PATH": ":".join(reachable)}
    return {**kept, **own}


def _as_user(become: list[str], tree: Path, directory: Path) -> int:
    environment = _environment(directory)
    # Short names: a home whose sockets fit into it needs no second directory elsewhere.
    pytest = ["python", "-m", "pytest", "-rsfER", "--basetemp", str(directory / "t"), "-m", "not full"]
    steps = (
        ["./dev", "install"],
        ["./dev", "run", *pytest, "tests/unit", "tests/e2e"],
        ["./dev", "crash", "--rounds", ROUNDS, "--seed", "20261121"],
    )
    worst = 0
    for step in steps:
        print(f"\n-- as user {USER_ID}: {' '.join(step)}", flush=True)
        done = subprocess.run([*become, *step], cwd=tree, env=environment, stdin=subprocess.DEVNULL, check=False)
        worst = worst or done.returncode
        if done.returncode != 0 and step[1] == "install":
            break
    return worst


def _end_all() -> None:
    """Nothing of that user may outlive this; the number is ours alone."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{entry}").st_uid == USER_ID:
                os.kill(int(entry), signal.SIGKILL)
        except OSError:
            continue


if __name__ == "__main__":
    sys.exit(main())
