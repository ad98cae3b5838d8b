"""`holdfast run`: one command kept alive from a terminal."""

from __future__ import annotations

import os
import signal

from tests.e2e.cli_home import PATIENCE_S, CliHome, Reader, home, wait_until

__all__ = ["home"]


def test_a_command_is_restarted_until_control_c_and_holdfast_goes_with_it(home: CliHome) -> None:
    process = home.start("run", "--name", "bot", "--", "sh", "-c", "echo I am $$; sleep 1000")
    reader = Reader(process)
    first = wait_until(lambda: [line for line in reader.out if line.startswith("I am ")], "its first words")
    os.kill(int(first[0].split()[-1]), signal.SIGKILL)
    wait_until(lambda: len([line for line in reader.out if line.startswith("I am ")]) == 2, "the successor's words")
    wait_until(lambda: [line for line in reader.err if "restarted as pid" in line], "a word about the restart")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE_S) == 0
    wait_until(lambda: not home.left(), "nothing is left")


def test_a_job_that_is_done_ends_the_command(home: CliHome) -> None:
    done = home.run("run", "--once", "--", "sh", "-c", "echo first; echo last >&2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "first\nlast\n"
    wait_until(lambda: not home.left(), "nothing is left")


def test_beside_a_running_fleet_only_its_own_agent_is_stopped(home: CliHome) -> None:
    home.write("version: 1\nagents:\n  other: {command: [sleep, '100000']}\n")
    assert home.run("up", "-d", "--wait").returncode == 0
    other = home.agents()["other"]["pid"]
    process = home.start("run", "--", "sleep", "99999")
    wait_until(lambda: home.agents().get("sleep", {}).get("phase") == "healthy", "it runs")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE_S) == 0
    wait_until(lambda: home.agents()["sleep"]["phase"] == "stopped", "its agent is stopped")
    assert home.agents()["other"]["pid"] == other


def test_mistakes_are_told_before_anything_starts(home: CliHome) -> None:
    for arguments, word in (
        (("--", "no-such-program-here"), "there is no command no-such-program-here"),
        (("--restart", "soon", "--", "sleep", "1"), "restart.backoff"),
        (("--memory", "lots", "--", "sleep", "1"), "limits.memory"),
        (("--env", "NO_SUCH_VARIABLE_HERE", "--", "sleep", "1"), "NO_SUCH_VARIABLE_HERE"),
        ((), "Missing argument"),
    ):
        done = home.run("run", *arguments)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("HF1011 Usage: ")
        assert word in done.stderr
        assert not home.left()
