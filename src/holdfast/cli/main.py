"""The `holdfast` command: the group of all subcommands, and the one place where errors become words and exit codes.

A user's mistake never prints a traceback: it is one block `HF1001 SpecInvalid: …` with a `next:` line. Anything
unexpected leaves a crash report in HOME/log and one line here. Subcommands are imported when they are asked for.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence

import click

from holdfast import __version__, errors
from holdfast.cli.session import Group, Session
from holdfast.cli.stdout import OutputFailed, guard_stdout
from holdfast.errors import HoldfastError

COMMANDS = {
    "up": "holdfast.cli.up",
    "down": "holdfast.cli.down",
    "run": "holdfast.cli.run",
    "check": "holdfast.cli.check",
    "schema": "holdfast.cli.schema",
    "ps": "holdfast.cli.ps",
    "top": "holdfast.cli.top",
    "describe": "holdfast.cli.describe",
    "capacity": "holdfast.cli.capacity",
    "logs": "holdfast.cli.logs",
    "events": "holdfast.cli.events",
    "push": "holdfast.cli.push",
    "start": "holdfast.cli.lifecycle",
    "stop": "holdfast.cli.lifecycle",
    "restart": "holdfast.cli.lifecycle",
    "sleep": "holdfast.cli.sleeping",
    "wake": "holdfast.cli.sleeping",
    "queue": "holdfast.cli.queue",
    "snapshot": "holdfast.cli.snapshot",
    "snapshots": "holdfast.cli.snapshots",
    "restore": "holdfast.cli.restore",
    "state": "holdfast.cli.state",
    "rm": "holdfast.cli.rm",
    "undelete": "holdfast.cli.undelete",
    "incidents": "holdfast.cli.incidents",
    "alert": "holdfast.cli.alert",
    "drill": "holdfast.cli.drill",
    "doctor": "holdfast.cli.doctor",
    "explain": "holdfast.cli.explain",
    "completion": "holdfast.cli.completion",
    "man": "holdfast.cli.man",
    "service": "holdfast.cli.service",
    "adopt": "holdfast.cli.adopt",
    "setup": "holdfast.cli.setup",
    "upgrade": "holdfast.cli.upgrade",
}
# What other tools call it: answered with our word, never carried out.
SYNONYMS = {
    "list": "ps", "ls": "ps", "status": "ps", "show": "describe", "inspect": "describe", "get": "ps", "log": "logs",
    "tail": "logs", "kill": "stop", "reload": "restart", "validate": "check", "config": "check", "apply": "up",
    "deploy": "up", "shutdown": "down", "history": "events", "monit": "top", "watch": "top", "help": "--help",
    "backup": "snapshot", "backups": "snapshots", "rollback": "restore", "revert": "restore", "remove": "rm",
    "delete": "rm", "undo": "restore", "recover": "restore",
}  # fmt: skip
EXIT_INTERRUPTED = 130  # what a shell reports for Ctrl-C


class HoldfastGroup(Group):
    """Finds a subcommand by name in the module that is named after it, and imports it only then."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(module), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def meant(self, ctx: click.Context, name: str) -> str:
        return SYNONYMS.get(name.lower()) or super().meant(ctx, name)


@click.command(
    cls=HoldfastGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    examples=[
        "holdfast up -d --wait          start what ./holdfast.yaml declares, and wait until it is healthy",
        "holdfast ps                    what runs, why, and what happens next",
        "holdfast run -- ./agent.sh     keep one command alive",
        "holdfast explain HF2010        what an error code means and what to do",
    ],
)
@click.version_option(__version__, prog_name="holdfast")
@click.pass_context
def cli(context: click.Context) -> None:
    """Keep long-running agents alive around the clock.

    Exit codes: 0 ok · 1 failed · 2 usage or bad file · 3 an agent is not healthy (ps, up --wait) · 4 not found ·
    5 keeper unreachable · 6 needs a human.
    """
    context.ensure_object(Session)
    if os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0") and not os.environ.get("NO_COLOR"):
        context.color = True  # what was painted must not be stripped again on its way to a file


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and return its exit code. Never raises."""
    _open_closed_streams()
    guard_stdout()
    given = list(sys.argv[1:] if arguments is None else arguments)
    session = Session(as_json=_json_asked(given))
    try:
        code = _invoke(given, session)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except OutputFailed as failed:
        _silence_stdout()
        return _report(HoldfastError(errors.OUTPUT_FAILED, reason=failed), session.as_json)


def _invoke(given: list[str], session: Session) -> int:
    try:
        result = cli.main(given, prog_name="holdfast", standalone_mode=False, obj=session)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as mistake:
        return _report(_usage_error(mistake), session.as_json)
    except HoldfastError as error:
        return _report(error, session.as_json)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except (BrokenPipeError, OutputFailed):
        raise
    except Exception as error:
        return _report(_crash(error, session), session.as_json)


def _json_asked(given: list[str]) -> bool:
    """Whether the answer must be JSON, known even when the command line cannot be parsed."""
    ours = given[: given.index("--")] if "--" in given else given
    return "--json" in ours


def _usage_error(mistake: click.ClickException) -> HoldfastError:
    context = getattr(mistake, "ctx", None)
    path = context.command_path if context is not None else "holdfast"
    return HoldfastError(errors.USAGE, reason=mistake.format_message().rstrip("."), command=path)


def _report(error: HoldfastError, as_json: bool) -> int:
    """The one block on standard error."""
    try:
        if as_json:
            click.echo(json.dumps({"error": {**error.as_dict(), "exit_code": error.exit_code}}), err=True)
        else:
            click.echo(f"{error.kind.code} {error.kind.name}: {error.summary}\nnext: {error.next_step}", err=True)
    except OSError:
        pass  # nobody reads standard error any more; the exit code still tells
    return error.exit_code


def _crash(error: Exception, session: Session) -> HoldfastError:
    """Write the traceback where it can be found, not on the user's screen."""
    from holdfast.cli.crash_report import write_crash_report

    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return HoldfastError(errors.COMMAND_FAILED, reason=reason, path=write_crash_report(error, session.home))


def _open_closed_streams() -> None:
    """Who starts us with `>&-` wants no output. Left closed, the number would become that of a file of ours."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # for as long as we live


def _silence_stdout() -> None:
    """The reader of our output has left: keep Python from complaining about it at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run())


if __name__ == "__main__":
    main()
