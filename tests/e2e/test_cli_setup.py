"""`holdfast setup` on a terminal, with answers typed, and without one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest

from tests.e2e.cli_home import HOLDFAST, PATIENCE_S, CliHome, cli_home, wait_until

PROGRAM = "import time\nwhile True:\n    print('at work', flush=True)\n    time.sleep(1)\n"


def _own_the_terminal() -> None:
    """Ctrl-C typed there reaches the command, also where we ourselves were started with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A command on a terminal of 40 columns, spoken to as a person would."""

    def __init__(self, home: CliHome, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        environment = {**home.environment, "COLUMNS": "40", "TERM": "dumb"}
        self.process = subprocess.Popen(
            [*HOLDFAST, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=home.directory,
            start_new_session=True, preexec_fn=_own_the_terminal,
        )  # fmt: skip
        os.close(slave)
        self.said, self.read_to = "", 0

    def expect(self, words: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while words not in " ".join(self.said[self.read_to :].split()):
            assert time.monotonic() < deadline, f"{words!r} was never said:\n{self.said}"
            if select.select([self.master], [], [], 0.5)[0]:
                try:
                    self.said += os.read(self.master, 65536).decode("utf-8", "replace").replace("\r", "")
                except OSError:  # it has ended
                    assert words in " ".join(self.said[self.read_to :].split()), self.said
                    return
        self.read_to = len(self.said)

    def number(self, words: str) -> str:
        """Of an offer; this machine may have more to offer than the test."""
        return next(line.split(".")[0].strip() for line in self.said.splitlines() if words in line)

    def answer(self, line: str) -> None:
        os.write(self.master, line.encode() + b"\n")

    def interrupt(self) -> None:
        """Ctrl-C until it is heard: between the question and the reading of its answer it would be heard only later."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            os.write(self.master, b"\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):  # a second one while it ends would cut its ending off
                self.process.wait(15)

    def end(self) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:  # everybody who had it open has ended
                    break
        os.close(self.master)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def home() -> Iterator[CliHome]:
    with cli_home() as made:
        made.environment |= {"HOME": str(made.directory), "XDG_CONFIG_HOME": str(made.directory / "config")}
        made.write(PROGRAM, "agent.py")
        yield made


def test_a_few_answers_bring_a_program_under_care_and_prove_that_somebody_is_told(home: CliHome) -> None:
    terminal = Terminal(home, "setup")
    terminal.expect("Choice [1]:")
    terminal.answer(terminal.number("keep agent.py alive"))
    terminal.expect("Choice [1]:")
    terminal.answer("4")
    terminal.expect("The command:")
    terminal.answer(f"sh -c 'cat >{home.directory}/told'")
    terminal.expect("Start it now? [Y/n]:")
    terminal.answer("")
    terminal.expect("[y/N]:")
    terminal.answer("")
    terminal.expect("Do this? [Y/n]:")
    assert not (home.directory / "holdfast.yaml").exists()
    terminal.answer("")
    terminal.expect("ok command sh")
    terminal.expect("measured now")
    assert terminal.end() == 0
    assert json.loads((home.directory / "told").read_text())["kind"] == "test"
    wait_until(lambda: home.agents()["agent"]["phase"] == "healthy", "it is under care")
    assert home.run("check").returncode == 0
    again = json.loads(home.run("setup", "--json").stdout)
    assert again["offers"][0]["kind"] == "up"
    assert again["plan"]["write"] is None


def test_ctrl_c_at_a_question_leaves_everything_as_it_was(home: CliHome) -> None:
    before = sorted(path.name for path in home.directory.iterdir())
    for answers in ((), ("agent",), ("agent", "1"), ("agent", "1", "y", "n")):
        terminal = Terminal(home, "setup")
        for words, line in zip(("Choice [1]:", "Choice [1]:", "[Y/n]:", "[y/N]:"), answers, strict=False):
            terminal.expect(words)
            terminal.answer(terminal.number("keep agent.py alive") if line == "agent" else line)
        terminal.expect("]:")
        terminal.interrupt()
        assert terminal.end() == 130
        assert sorted(path.name for path in home.directory.iterdir()) == before


def test_without_a_terminal_it_says_what_to_add_and_json_and_dry_run_change_nothing(home: CliHome) -> None:
    before = sorted(path.name for path in home.directory.iterdir())
    done = home.run("setup")
    assert done.returncode == 2
    assert all(option in done.stderr for option in ("--yes", "--json", "--dry-run"))
    answer = json.loads(home.run("setup", "--json").stdout)
    assert answer["plan"]["write"]["file"] == str(home.directory / "holdfast.yaml")
    assert answer["changed"] is False
    assert "holdfast.yaml" in home.run("setup", "--dry-run").stdout
    assert home.run("setup", "--yes", "--alert", "fax:1").returncode == 2
    assert sorted(path.name for path in home.directory.iterdir()) == before


def test_yes_starts_what_is_here_warns_that_nobody_is_told_and_never_replaces_a_file(home: CliHome) -> None:
    done = home.run("setup", "--yes")
    assert done.returncode == 0, done.stderr
    assert "nobody is told" in " ".join(done.stdout.split())
    wait_until(lambda: home.agents()["agent"]["phase"] == "healthy", "it is under care")
    written = (home.directory / "holdfast.yaml").read_bytes()
    pid = home.agents()["agent"]["pid"]
    done = home.run("setup", "--yes")
    assert done.returncode == 0, done.stderr
    assert (home.directory / "holdfast.yaml").read_bytes() == written
    assert home.agents()["agent"]["pid"] == pid
    home.write("version: 1\nagents: {a: {comand: x}}\n")
    assert "HF1001" in home.run("setup", "--yes").stderr
