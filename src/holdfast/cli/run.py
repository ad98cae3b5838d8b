"""`holdfast run -- CMD…`: keep one command alive, as you, here and now.

The command becomes an agent beside those that run already. What it prints goes to standard output, what Holdfast
does about it to standard error. Ctrl-C stops it, and Holdfast too when this command started it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, pass_session
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.cli.client import KeeperClient
    from holdfast.spec.model import FleetSpec

LABEL = "holdfast-run"  # marks agents that came from a command line, so that their names can be used again
LOOK_S = 0.1
QUIET_S = 0.3  # no line for this long after the end, and none waits to be read: the tail is out
TAIL_MAX_S = 10.0
UP_MAX_S = 60.0
STATUS_S = 0.25  # while lines pour in, the phase is looked at only so often
QUIET_PHASES = frozenset({"healthy", "starting", "queued"})  # nothing worth a note
RUNNING_PHASES = frozenset(
    {"queued", "starting", "healthy", "degraded", "unhealthy", "recovering", "backoff", "shed", "hibernating", "spare"}
)


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    examples=[
        "holdfast run -- python3 loop.py",
        "holdfast run --name bot --restart 0s,5s,30s --memory 500M -- ./bot --verbose",
        "holdfast run --http http://127.0.0.1:8080/health -- ./server",
    ],
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG...]")
@click.option("--name", help="Name of the agent; otherwise made from the command.")
@click.option("--restart", "backoff", metavar="D,D,…", help="Delays before restarts, such as 0s,10s,60s.")
@click.option("--once", is_flag=True, help="Exit code 0 means done; otherwise every exit is followed by a restart.")
@click.option("--http", metavar="URL", help="Ask this URL for the agent's health.")
@click.option("--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Environment; NAME alone passes yours on.")
@click.option("--memory", metavar="SIZE", help="Memory limit, such as 500M.")
@click.option("--grace", metavar="D", help="Time it gets between TERM and KILL, such as 10s.")
@pass_session
def run(session: Session, /, command: tuple[str, ...], name: str | None, env: tuple[str, ...], **options: Any) -> None:
    """Keep one command alive: it is restarted whenever it dies, until Ctrl-C."""
    from holdfast.cli import starting
    from holdfast.cli.fleet_view import agent_row
    from holdfast.cli.watching import interruptible, look

    session.home.prepare()
    starting.enter_delegated_scope(session, sys.argv[1:])
    agent = _declaration(command, env, options)
    fleet = _fleet(_name_of(command) if name is None else name, agent)  # mistakes show before anything starts
    client = session.client()
    with interruptible():
        started = starting.start_holdfast(session, client, None, UP_MAX_S)
        with _stopping(session, client, started) as chosen:
            if name is None:
                fleet = _fleet(_free_name(client, fleet.agents[0].name), agent)
            output = _Output(session, fleet.agents[0].name)  # from here on, nothing older
            chosen.append(output.name)
            before = (agent_row(look(client), output.name) or {}).get("instance", 0)
            _declare(client, fleet)
            _follow(session, client, output, before)


def _fleet(name: str, agent: dict[str, Any]) -> FleetSpec:
    from holdfast.cli.reading import fleet_of_one

    return fleet_of_one(name, agent)


def _declaration(command: tuple[str, ...], env: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """The agent as holdfast.yaml would declare it."""
    program = shutil.which(command[0])
    if program is None:
        kind = "option" if command[0].startswith("-") else "command"
        raise HoldfastError(errors.USAGE, reason=f"there is no {kind} {command[0]}", command="holdfast run")
    agent: dict[str, Any] = {
        "command": [os.path.abspath(program), *command[1:]],
        "working_dir": os.getcwd(),
        "env": {"PATH": os.environ.get("PATH", os.defpath), **dict(_variable(text) for text in env)},
        "labels": {LABEL: "true"},
        "once": options["once"],
    }
    if os.getuid() == 0:
        agent["user"] = "root"  # as whoever typed it; agents of a file get users of their own
    if options["backoff"]:
        agent["restart"] = {"backoff": [part.strip() for part in options["backoff"].split(",")]}
    if options["http"]:
        agent["health"] = {"http": options["http"]}
    if options["memory"]:
        agent["limits"] = {"memory": options["memory"]}
    if options["grace"]:
        agent["stop"] = {"grace": options["grace"]}
    return agent


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals and name not in os.environ:
        raise HoldfastError(errors.USAGE, reason=f"--env {name}: you have no such variable", command="holdfast run")
    return name, value if equals else os.environ[name]


def _name_of(command: tuple[str, ...]) -> str:
    """A name from the command: its script where an interpreter runs one, else its program."""
    words = [word for word in command[:2] if not word.startswith("-")]
    script = len(words) == 2 and re.search(r"\.(py|js|mjs|ts|sh|rb|pl)$", words[1])
    base = os.path.basename(words[1] if script else command[0]).split(".")[0].lower()
    name = re.sub(r"[^a-z0-9]+", "-", base).strip("-")[:50].strip("-")
    return name if name and name[0].isalpha() else f"run-{name}".rstrip("-")


def _free_name(client: KeeperClient, wish: str) -> str:
    """`wish`, or wish-2, wish-3, … when an agent of that name is declared or runs."""
    taken = {
        row["name"]
        for row in client.get("/v1/status").get("agents", [])
        if LABEL not in (row.get("labels") or {}) or row.get("phase") in RUNNING_PHASES
    }
    return next(name for name in (wish, *(f"{wish}-{n}" for n in range(2, len(taken) + 3))) if name not in taken)


def _declare(client: KeeperClient, fleet: FleetSpec) -> None:
    import msgspec

    client.put("/v1/fleet", msgspec.json.encode(fleet), merge=1)
    client.post(f"/v1/agents/{fleet.agents[0].name}/start", {"wait": False})  # it may be stopped from a former run


@contextmanager
def _stopping(session: Session, client: KeeperClient, started: bool) -> Iterator[list[str]]:
    """However the block ends, stop what it started: the agent it named, or all of a Holdfast of its own."""
    from holdfast.cli.down import DOWN_MAX_S, bring_down

    chosen: list[str] = []
    try:
        yield chosen
    except KeyboardInterrupt:
        session.hint("stopping")
    finally:
        if started:
            bring_down(session, DOWN_MAX_S)
        elif chosen:
            client.post(f"/v1/agents/{chosen[0]}/stop", {"wait": True}, timeout_s=DOWN_MAX_S)


class _Output:
    """What the agent prints, on its way to our standard output.

    Read from its log files, not through the keeper: whoever runs this owns the home, and no line is lost or doubled
    while a keeper is replaced.
    """

    def __init__(self, session: Session, name: str) -> None:
        from holdfast.logs.read import Follower

        self.session = session
        self.name = name
        self.follower = Follower(session.home, name, last=0)

    def copy(self) -> bool:
        """Pass on what came since; True when something did."""
        found = self.follower.poll()
        for line in found:
            self._write(line)
        return bool(found) or self.follower.more

    def drain(self) -> None:
        """Pass on the last lines of an agent that has ended; they are on their way through the logger."""
        now = time.monotonic()
        deadline_mono, quiet_mono = now + TAIL_MAX_S, now + QUIET_S
        while now < deadline_mono and (now < quiet_mono or self._waits()):
            if self.copy():
                quiet_mono = time.monotonic() + QUIET_S
            else:
                time.sleep(LOOK_S)
            now = time.monotonic()
        rest = self.follower.rest()
        if rest is not None:
            self._write(rest)

    def _waits(self) -> bool:
        """Whether the agent printed what the logger has not taken yet: on a starved machine that takes its time."""
        import fcntl
        import termios

        try:
            fd = os.open(self.session.home.agent_fifo(self.name), os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            return fcntl.ioctl(fd, termios.FIONREAD, bytes(4)) != bytes(4)
        except OSError:
            return False
        finally:
            os.close(fd)

    def _write(self, line: bytes) -> None:
        if self.session.as_json:
            self.session.answer({"agent": self.name, "line": line.decode("utf-8", "replace")})
        else:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()


def _follow(session: Session, client: KeeperClient, output: _Output, before: int) -> None:
    """Show output and restarts until an instance after number `before` is finished, or somebody stops it."""
    from holdfast.cli.fleet_view import agent_row, why_next
    from holdfast.cli.watching import look

    seen: tuple[object, ...] = ()
    instance = before
    looked_mono = 0.0
    while True:
        if output.copy() and time.monotonic() - looked_mono < STATUS_S:
            continue
        looked_mono = time.monotonic()
        row = agent_row(look(client), output.name)
        if row is None:
            time.sleep(LOOK_S)
            continue
        if row.get("instance", 0) > instance and row.get("pid"):
            if row["instance"] > before + 1:  # also when the first one was gone before it was looked at
                _note(session, output.name, f"restarted as pid {row['pid']} (restart {row.get('restarts')})")
            instance = row["instance"]
        now = (row.get("phase"), row.get("tier"))
        if now != seen and row.get("phase") not in QUIET_PHASES:
            _note(session, output.name, f"{row.get('phase')}: {why_next(row)}")
        seen = now
        if row.get("phase") in ("finished", "stopped") and row.get("instance", 0) > before:
            output.drain()
            return
        time.sleep(LOOK_S)


def _note(session: Session, name: str, text: str) -> None:
    from holdfast.cli.render import one_line

    session.hint(f"holdfast: {name}: {one_line(text)}")
