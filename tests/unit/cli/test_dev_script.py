"""./dev: the entry script in plain POSIX sh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEV = ROOT / "dev"
VERBS = ["install", "demo", "test", "test-full", "check", "simulate", "crash", "bench", "accept"]
SHELLS = [shell for shell in ("dash", "sh", "bash", "busybox") if shutil.which(shell)]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], **environment}
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_here_can_read_it(shell: str) -> None:
    command = ["busybox", "sh"] if shell == "busybox" else [shell]
    assert run(*command, "-n", str(DEV)).stderr == ""
    assert run(*command, "-n", str(ROOT / ".ci" / "run")).stderr == ""


def test_help_names_every_verb() -> None:
    done = run("sh", str(DEV), "help")
    assert done.returncode == 0
    assert all(f"  {verb} " in done.stdout for verb in VERBS)


def test_an_unknown_verb_is_a_mistake() -> None:
    done = run("sh", str(DEV), "frobnicate")
    assert done.returncode != 0
    assert "no verb 'frobnicate'" in done.stderr


def _functions(tmp_path: Path) -> Path:
    """The script without its last part, so that a test can call its functions."""
    text = DEV.read_text().split("\nverb=${1:-help}")[0].replace('cd "$(dirname "$0")"', f'cd "{tmp_path}"')
    path = tmp_path / "functions.sh"
    path.write_text(text)
    return path


def test_without_a_python_the_exact_apt_line_is_printed(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("id", "dirname"):
        os.symlink(str(shutil.which(name)), tools / name)
    script = _functions(tmp_path)
    # No Python is good enough: what is left is the line for the system's package manager.
    done = run("/bin/sh", "-c", f". {script}; is_good_python() {{ return 1; }}; find_python", PATH=str(tools))
    assert done.returncode != 0
    assert "apt-get install python3.11 python3.11-venv" in done.stderr


def test_a_python_named_by_hand_is_taken_first(tmp_path: Path) -> None:
    done = run("sh", "-c", f". {_functions(tmp_path)}; find_python", HOLDFAST_PYTHON=sys.executable)
    assert done.stdout.strip() == sys.executable


def test_a_python_that_is_too_old_or_broken_is_passed_over(tmp_path: Path) -> None:
    old = tmp_path / "python3.11"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = run("sh", "-c", f". {_functions(tmp_path)}; find_python", HOLDFAST_PYTHON=str(old))
    assert done.returncode == 0
    assert done.stdout.strip() not in ("", str(old))
