"""Completion in the shells themselves: commands, options, names of agents, labels, incidents."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.home import Home
from tests.unit.cli import fake_keeper
from tests.unit.cli.fake_keeper import agent, status

PATIENCE_S = 90.0
CASES = [
    ("holdfast desc", "describe"),
    ("holdfast restart --roll", "--rolling"),
    ("holdfast describe wo", "worker"),
    ("holdfast stop web wo", "worker"),
    ("holdfast ps -l te", "team=x"),
    ("holdfast restart --selector team=x,ti", "team=x,tier=db"),
    ("holdfast completion f", "fish"),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with `holdfast` on the path, and a home whose keeper answers."""
    directory = Path(tempfile.mkdtemp(prefix="hf-complete-"))
    home = Home(directory / "home")
    home.prepare()
    program = directory / "bin" / "holdfast"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m holdfast.cli "$@"\n')
    program.chmod(0o755)
    with fake_keeper.serving(home.api_socket) as keeper:
        rows = [agent("web", labels={"team": "x"}), agent("worker", labels={"team": "x", "tier": "db"})]
        keeper.routes["GET", "/v1/status"] = (200, status(*rows))
        keeper.routes["GET", "/v1/incidents"] = (200, {"incidents": [{"id": "20261121-ab"}]})
        yield directory
    shutil.rmtree(directory, ignore_errors=True)


def environment(place: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "HOLDFAST_HOME": str(place / "home"),
        "HOME": str(place),
        "TERM": "dumb",
    }


BASH = """
eval "$(holdfast completion bash)" || exit 3
spec=$(complete -p holdfast) || exit 4
function=${spec##*-F }; function=${function%% *}
complete_line() {
    COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=$1; COMP_POINT=${#1}; COMPREPLY=()
    "$function" holdfast "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    printf '%s=>%s\\n' "$1" "${COMPREPLY[*]}"
}
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed here")
def test_bash_completes(place: Path) -> None:
    script = BASH + "\n".join(f"complete_line '{line}'" for line, _ in CASES)
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = dict(line.split("=>", 1) for line in done.stdout.splitlines())
    for line, expected in CASES:
        assert expected in found[line].split(), (line, found[line])
    assert "web" not in found["holdfast describe wo"].split()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed here")
def test_fish_completes(place: Path) -> None:
    script = "holdfast completion fish | source\n" + "\n".join(f"echo (complete -C '{line}')" for line, _ in CASES)
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (line, expected), found in zip(CASES, done.stdout.splitlines(), strict=True):
        if "," in expected:
            continue  # what fish is told is parted by commas, so it cannot be given one
        assert expected in found, (line, found)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed here")
def test_zsh_completes_as_it_is_typed(place: Path) -> None:
    """A real line editor in a terminal: only there zsh completes."""
    import pty

    pid, master = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment(place))
    text = b""

    def until(words: bytes) -> None:
        nonlocal text
        deadline = time.monotonic() + PATIENCE_S
        while words not in text:
            assert time.monotonic() < deadline, (words, text[-2000:])
            with suppress(BlockingIOError):
                text += os.read(master, 65_536)
            time.sleep(0.01)
        text = b""

    try:
        os.set_blocking(master, False)
        os.write(
            master,
            b"PS1='ready> '; autoload -Uz compinit && compinit -u; eval \"$(holdfast completion zsh)\"; echo s''et\n",
        )
        until(b"set\r\n")
        os.write(master, b"holdfast describe wo\t")
        until(b"worker")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(master)
