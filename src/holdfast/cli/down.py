"""`holdfast down`: stop every agent gracefully, then Holdfast itself, and say what is left.

Works through the keeper, and when that is dead through init's own socket. Returns only when the home's lock is free.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import Any

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, pass_session
from holdfast.errors import HoldfastError
from holdfast.sizes import counted

DOWN_MAX_S = 120.0  # above the default grace of 30 s, several times
INIT_ANSWER_MAX_S = 5.0
OWN_MARK = "@"  # begins the instance names of Holdfast's own processes
AFTERMATH_S = 1.0  # processes killed last may still be on their way out when the lock is free


@dataclass(slots=True)
class Outcome:
    """What `down` found and left."""

    was_running: bool
    left: dict[int, str] = field(default_factory=dict)


@click.command(cls=Command, examples=["holdfast down", "holdfast down --timeout 300"])
@click.option("--timeout", "timeout_s", type=float, default=DOWN_MAX_S, show_default=True, metavar="S")
@pass_session
def down(session: Session, timeout_s: float) -> None:
    """Stop all agents gracefully, then Holdfast itself.

    Each agent gets its own `stop.grace`. --timeout only limits how long this command waits.
    """
    outcome = bring_down(session, timeout_s)
    if session.as_json:
        session.answer({"was_running": outcome.was_running, "left_running": len(outcome.left)})
    elif not outcome.was_running:
        click.echo(f"nothing runs in {session.home.path}")
    else:
        click.echo("everything is stopped")


def bring_down(session: Session, timeout_s: float) -> Outcome:
    """Stop everything of this home. Raises NOT_ALL_STOPPED with what is left after `timeout_s` seconds."""
    from holdfast.cli import starting

    home = session.home
    if not starting.is_owned(home):
        left = starting.agents_left(home)
        if not left:
            return Outcome(was_running=False)
        # Holdfast was killed as a whole and its agents live on: only a Holdfast that adopted them can stop them
        # with their own signal and grace.
        agents = {name for name in left.values() if not name.startswith(OWN_MARK)}
        session.hint(f"still running without Holdfast: {counted(len(agents), 'agent')}; adopting them to stop them")
        starting.start_holdfast(session, session.client(), None, timeout_s)
    _ask(session, timeout_s)
    free = starting.wait_for(lambda: not starting.is_owned(home), timeout_s)
    starting.wait_for(lambda: not starting.agents_left(home), AFTERMATH_S if free else 0.0)
    left = starting.agents_left(home)
    if left or not free:
        words = [f"{_words(name)} (pid {pid})" for pid, name in sorted(left.items())]
        if not free:
            words.append("Holdfast itself")
        raise HoldfastError(errors.NOT_ALL_STOPPED, timeout_s=f"{timeout_s:g}", left=", ".join(words))
    return Outcome(was_running=True)


def _words(name: str) -> str:
    return f"Holdfast's {name[1:]}" if name.startswith(OWN_MARK) else name


def _ask(session: Session, timeout_s: float) -> None:
    """Ask the keeper; when it is away, or leaves in the middle of its answer, ask init. Asking twice does no harm."""
    try:
        answer = session.client(timeout_s=10.0).post("/v1/down", {"timeout_s": timeout_s})
        if stopping := (answer or {}).get("stopping", 0):
            session.hint(f"stopping {counted(stopping, 'agent')} …")
        return
    except HoldfastError as error:
        if error.kind.code not in (errors.KEEPER_UNREACHABLE.code, errors.KEEPER_FAILED.code):
            raise
        if error.kind.code == errors.KEEPER_UNREACHABLE.code:
            session.hint("the keeper does not answer: asking init")
    ask_init(str(session.home.init_socket), {"op": "shutdown", "keep_agents": False})


def ask_init(path: str, operation: dict[str, Any]) -> bool:
    """Send one operation to init. False when init does not answer; it may be on its way out or just restarting."""
    from holdfast.init.protocol import PROTOCOL

    hello = {"op": "hello", "protocol": PROTOCOL, "id": 1}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(INIT_ANSWER_MAX_S)
            link.connect(path)
            for number, message in enumerate((hello, operation), start=1):
                link.sendall(json.dumps({**message, "id": number}).encode() + b"\n")
            return _answered(link, number)
    except OSError:
        return False


def _answered(link: socket.socket, number: int) -> bool:
    """Read lines until the answer to `number`, or the end."""
    with link.makefile("rb") as lines:
        for line in lines:
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            if answer.get("re") == number:
                return bool(answer.get("ok"))
    return False
