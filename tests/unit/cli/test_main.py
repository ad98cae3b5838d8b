"""The frame: options before and after the subcommand, exit codes, errors as one block, help, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from holdfast import __version__, errors
from holdfast.cli import main as main_module
from holdfast.cli.main import COMMANDS
from holdfast.cli.main import cli as group
from holdfast.errors import CATALOGUE
from tests.unit.cli import fake_keeper

HOLDFAST = [sys.executable, "-P", "-m", "holdfast.cli"]
EXIT_CODES = {0, 1, 2, 3, 4, 5, 6}


def test_the_version_is_printed(cli: Any) -> None:
    done = cli("--version")
    assert done.code == 0
    assert __version__ in done.out


@pytest.mark.parametrize("arguments", [("--json", "ps"), ("ps", "--json")])
def test_json_is_accepted_before_and_after_the_subcommand(cli: Any, keeper: Any, arguments: tuple[str, ...]) -> None:
    assert json.loads(cli(*arguments).out) == fake_keeper.status()


def test_the_home_is_accepted_after_the_subcommand(cli: Any, keeper: Any, tmp_path: Path) -> None:
    done = cli("ps", "--home", str(tmp_path / "elsewhere"))
    assert done.code == 5
    assert str(tmp_path / "elsewhere") in done.err


def test_a_dead_keeper_is_one_block_with_exit_code_5(cli: Any) -> None:
    done = cli("ps")
    assert done.code == 5
    assert done.out == ""
    assert done.err.startswith("HF3001 KeeperUnreachable: ")
    assert done.err.splitlines()[1].startswith("next: ")


def test_an_error_is_json_on_standard_error_when_asked_for(cli: Any) -> None:
    done = cli("ps", "--json")
    assert json.loads(done.err)["error"]["code"] == "HF3001"
    assert json.loads(done.err)["error"]["exit_code"] == 5


@pytest.mark.parametrize(
    "arguments",
    [("nosuch",), ("ps", "--nosuch"), ("logs", "-v"), ("stop",), ("top", "a", "b"), ("events", "--after", "x")],
)
def test_a_wrong_command_line_has_exit_code_2_and_no_traceback(cli: Any, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert done.err.startswith("HF1011 Usage: ")
    assert "--help" in done.err
    assert "Traceback" not in done.err


def test_the_keepers_own_error_keeps_its_code_and_exit_code(cli: Any, keeper: Any) -> None:
    done = cli("describe", "ghost")
    assert done.code == 4
    assert done.err.startswith("HF2001 AgentNotFound: ")


def test_an_answer_that_is_not_ours_is_told_without_a_traceback(cli: Any, keeper: Any) -> None:
    keeper.routes["GET", "/v1/status"] = (500, b"<html>")
    done = cli("ps")
    assert done.code == 1
    assert done.err.startswith("HF3009 KeeperFailed: ")


def test_an_unforeseen_failure_leaves_a_report_and_one_line(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(main_module.cli, "main", break_down)
    done = cli("ps")
    assert done.code == 1
    assert done.err.startswith("HF3020 CommandFailed: ")
    assert "Traceback" not in done.err
    # parsing never happened, so the report is in the default place or the temporary directory
    path = done.err.split("the report is in ")[1].splitlines()[0]
    assert "ZeroDivisionError: a bug" in Path(path).read_text()
    os.unlink(path)


def test_control_c_is_quiet_and_130(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module.cli, "main", interrupt)
    done = cli("ps")
    assert (done.code, done.out, done.err) == (130, "", "")


def test_a_reader_that_leaves_is_no_error_message() -> None:
    process = subprocess.Popen([*HOLDFAST, "explain"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples_and_global_options(cli: Any, name: str) -> None:
    done = cli(name, "--help")
    assert done.code == 0
    assert "Examples:" in done.out
    assert "holdfast" in done.out
    assert "--json" in done.out
    assert "--home" in done.out


def test_every_command_is_listed_in_the_help(cli: Any) -> None:
    listed = cli("--help").out
    assert all(f"  {name} " in listed for name in COMMANDS)


def test_every_subcommand_takes_the_global_options() -> None:
    def leaves(command: click.Command, context: click.Context) -> list[click.Command]:
        if isinstance(command, click.Group):
            found = [command.get_command(context, name) for name in command.list_commands(context)]
            return [leaf for one in found if one is not None for leaf in leaves(one, context)]
        return [command]

    for leaf in leaves(group, click.Context(group)):
        assert {"home", "json"} <= {parameter.name for parameter in leaf.params}, leaf.name


def test_exit_codes_of_all_errors_are_those_of_the_contract() -> None:
    assert {kind.exit_code for kind in CATALOGUE.values()} <= EXIT_CODES


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(cli: Any, shell: str) -> None:
    done = cli("completion", shell)
    assert done.code == 0
    assert "_HOLDFAST_COMPLETE" in done.out


def test_the_shell_completes_commands() -> None:
    environment = {**os.environ, "_HOLDFAST_COMPLETE": "bash_complete", "COMP_WORDS": "holdfast inc", "COMP_CWORD": "1"}
    done = subprocess.run(HOLDFAST, env=environment, capture_output=True, text=True, check=False)
    assert "incidents" in done.stdout


def test_the_shell_completes_names_of_agents(cli: Any, keeper: Any) -> None:
    keeper.routes["GET", "/v1/status"] = (
        200,
        fake_keeper.status(fake_keeper.agent("web"), fake_keeper.agent("worker")),
    )
    environment = {
        **os.environ,
        "_HOLDFAST_COMPLETE": "bash_complete",
        "COMP_WORDS": "holdfast describe wo",
        "COMP_CWORD": "2",
        "HOLDFAST_HOME": str(cli.home.path),
    }
    done = subprocess.run(HOLDFAST, env=environment, capture_output=True, text=True, check=False)
    assert "worker" in done.stdout
    assert "web" not in done.stdout


def test_starting_needs_neither_rich_nor_msgspec_nor_yaml() -> None:
    heavy = ["rich", "msgspec", "yaml", "starlette", "uvicorn", "asyncio", "http.client"]
    code = (
        "import sys; from holdfast.cli.main import run; run(['--help']); "
        f"sys.stderr.write(' '.join(name for name in {heavy!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("command", ["explain HF2010", "nosuch"])
def test_streams_that_are_closed_are_no_failure_of_ours(tmp_path: Path, command: str, closed: str) -> None:
    line = f'"$0" -P -m holdfast.cli {command} {closed}'
    environment = {**os.environ, "HOLDFAST_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        ["sh", "-c", line, sys.executable], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == (2 if command == "nosuch" else 0)
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "home").exists()  # no report of a crash


def test_explain_knows_every_code(cli: Any) -> None:
    for code, kind in CATALOGUE.items():
        done = cli("explain", code.lower())
        assert done.code == 0
        assert kind.name in done.out
        assert "{" not in done.out


def test_explain_lists_all_codes(cli: Any) -> None:
    listed = json.loads(cli("explain", "--json").out)["errors"]
    assert {entry["code"] for entry in listed} == set(CATALOGUE)


def test_explain_of_an_unknown_code_is_not_found(cli: Any) -> None:
    assert cli("explain", "HF9999").code == errors.UNKNOWN_ERROR_CODE.exit_code == 4
