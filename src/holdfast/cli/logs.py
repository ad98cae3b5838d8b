"""`holdfast logs AGENT`: what an agent printed, on time, binary-safe.

Asked once it comes from the keeper, or from the files when none answers. Followed it comes from the files at once: a
follower must neither lose nor double a line when the keeper is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, complete_agent, pass_session
from holdfast.errors import HoldfastError

LINES_SHOWN = 100  # without --since and -n: about two screens


@click.command(
    cls=Command,
    examples=["holdfast logs assistant", "holdfast logs assistant -f", "holdfast logs assistant --since 10m -n 1000"],
)
@click.argument("agent", shell_complete=complete_agent)
@click.option("-f", "--follow", is_flag=True, help="Go on with lines as they are printed.")
@click.option("--since", metavar="D", help="Only what was printed in the last 10m, 2h, 1d …")
@click.option("-n", "--lines", "last", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@pass_session
def logs(session: Session, agent: str, follow: bool, since: str | None, last: int | None) -> None:
    """Show what an agent printed (standard output and standard error, in order)."""
    since_s = _seconds(since) if since is not None else None
    if since_s is None and last is None:
        last = LINES_SHOWN
    source = _from_files if follow else _from_keeper
    write = _as_json if session.as_json else _as_text
    for line in source(session, agent, since_s, last, follow):
        write(agent, line)


def _seconds(text: str) -> float:
    from holdfast.spec.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        meant = f", did you mean {error}" if str(error) else ""
        reason = f"--since {text}: expected a duration such as 30s, 10m, 2h{meant}"
        raise HoldfastError(errors.USAGE, reason=reason, command="holdfast logs") from error


def _from_keeper(
    session: Session, agent: str, since_s: float | None, last: int | None, follow: bool
) -> Iterator[bytes]:
    query = {} if since_s is None else {"since": since_s}
    if last is not None:
        query["lines"] = last
    try:
        for line in session.client().stream(f"/v1/agents/{agent}/logs", follow=False, **query):
            yield line.removesuffix(b"\n")
    except HoldfastError as error:
        if error.kind.code != errors.KEEPER_UNREACHABLE.code:
            raise
        session.hint("no keeper answers: reading the files")
        yield from _from_files(session, agent, since_s, last, follow)


def _from_files(session: Session, agent: str, since_s: float | None, last: int | None, follow: bool) -> Iterator[bytes]:
    from holdfast.logs import read

    home = session.home
    if "/" in agent or not home.agent_logs(agent).is_dir():
        session.client().get(f"/v1/agents/{agent}")  # its own error, when it does not know the agent either
        if "/" in agent:
            raise HoldfastError(errors.AGENT_NOT_FOUND, agent=agent)
    try:
        yield from read.lines(home, agent, since_s=since_s, last=last, follow=follow)
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=home.path, reason=error.strerror or error) from error


def _as_text(_agent: str, line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _as_json(agent: str, line: bytes) -> None:
    import json

    text = json.dumps({"agent": agent, "line": line.decode("utf-8", "replace")}, ensure_ascii=False)
    _as_text(agent, text.encode())
