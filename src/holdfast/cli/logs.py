"""`holdfast logs [AGENT…]`: what agents printed, in the order of time, fit for a terminal.

Read from the files, so that it works while the keeper is dead, and so that a follower neither loses nor doubles a line
when the keeper is replaced.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from holdfast import errors
from holdfast.cli.selecting import selector_option
from holdfast.cli.session import Command, Session, complete_agent, pass_session
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.cli.log_lines import Style
    from holdfast.logs.matcher import Matcher
    from holdfast.logs.query import Line, Query

LINES_SHOWN = 100  # of each agent, without --since, --until, --grep and -n: about two screens
NEW_AGENTS_S = 1.0  # how often a follower of all agents looks for new ones


@click.command(
    cls=Command,
    examples=[
        "holdfast logs assistant",
        "holdfast logs assistant -f",
        "holdfast logs -l team=research --since 'yesterday 14:00' --until 15:30",
        "holdfast logs --grep 'error|timeout' -i -C 3 --since 2h",
    ],
)
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@click.option("-a", "--agent", "more", multiple=True, metavar="AGENT", help="Another agent (may be repeated).")
@selector_option
@click.option("-f", "--follow", is_flag=True, help="Go on with lines as they are printed.")
@click.option("--since", metavar="T", help="Not older than 10m, 2h, 03:00, 'yesterday 14:00', 2026-11-21T14:00 …")
@click.option("--until", metavar="T", help="Not newer than this; written as for --since.")
@click.option("-n", "--lines", "last", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each.")
@click.option("--grep", metavar="REGEX", help="Only lines in which this regular expression is found.")
@click.option("-i", "--ignore-case", is_flag=True, help="With --grep: capital and small letters are the same.")
@click.option("-v", "--invert-match", is_flag=True, help="With --grep: only lines in which it is not found.")
@click.option(
    "-C", "--context", type=click.IntRange(0, 10_000), default=0, metavar="N", help="Lines around each match."
)
@click.option("--raw", is_flag=True, help="The bytes as they were printed; on a terminal without control characters.")
@click.option("--timestamps", is_flag=True, help="When each line was captured, to about a second.")
@click.option("--utc", is_flag=True, help="With --timestamps: in UTC.")
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("--holdfast", "own", is_flag=True, help="What Holdfast's own processes printed.")
@pass_session
def logs(session: Session, /, agents: tuple[str, ...], more: tuple[str, ...], **asked: Any) -> None:
    """Show what agents printed (standard output and standard error, in order). Without names: all agents."""
    query = _query(asked)
    named = tuple(dict.fromkeys((*agents, *more)))
    if asked["own"]:
        _show_own(session, named, query, asked)
        return
    chosen = _chosen(session, named, asked["selector"])
    style = _style(session, chosen, asked, many=not named)
    write = _writer(style)
    try:
        with ExitStack() as stack:
            followers = _backlog(session, chosen, query, write, stack, follow=asked["follow"])
            if asked["follow"]:
                everyone = not named and not asked["selector"]
                _follow(session, followers, query, write, stack, everyone=everyone)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        home = session.home.path
        raise HoldfastError(errors.HOME_UNUSABLE, home=home, reason=error.strerror or error) from error


# --- what is asked -----------------------------------------------------------------------------------------------
def _query(asked: dict[str, Any]) -> Query:
    from holdfast.logs.query import Query

    since_ns, until_ns = _time("--since", asked["since"]), _time("--until", asked["until"])
    if since_ns is not None and until_ns is not None and since_ns > until_ns:
        raise _usage("--since is later than --until")
    if asked["follow"] and until_ns is not None:
        raise _usage("--follow goes on for ever: leave out --until")
    last: int | None = asked["last"]
    if last is None and since_ns is None and until_ns is None and asked["grep"] is None:
        last = LINES_SHOWN
    return Query(since_ns, until_ns, last, _matcher(asked), asked["context"])


def _matcher(asked: dict[str, Any]) -> Matcher | None:
    if asked["grep"] is None:
        if asked["ignore_case"] or asked["invert_match"] or asked["context"]:
            raise _usage("-i, -v and -C belong to --grep")
        return None
    from holdfast.logs.matcher import Matcher

    try:
        return Matcher(asked["grep"], ignore_case=asked["ignore_case"], invert=asked["invert_match"])
    except ValueError as error:
        raise _usage(f"--grep: {error}") from error


def _time(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    from holdfast import when

    try:
        return int(when.parse(text, time.time()) * 1e9)
    except ValueError as error:
        raise _usage(f"{option}: {error}") from error


def _usage(reason: str) -> HoldfastError:
    return HoldfastError(errors.USAGE, reason=reason, command="holdfast logs")


def _style(session: Session, agents: Sequence[str], asked: dict[str, Any], *, many: bool) -> Style:
    from holdfast.cli.log_lines import Style
    from holdfast.cli.render import coloured

    return Style(
        agents=tuple(agents),
        terminal=sys.stdout.isatty(),
        colours=coloured() and not asked["no_color"],
        raw=asked["raw"],
        as_json=session.as_json,
        timestamps=asked["timestamps"] or asked["utc"],
        utc=asked["utc"],
        many=many,
    )


# --- whose -------------------------------------------------------------------------------------------------------
def _chosen(session: Session, named: tuple[str, ...], selector: str | None) -> list[str]:
    """Names of agents that have logs or are in the fleet. Raises HoldfastError for one that nobody knows."""
    home = session.home
    for agent in named:
        if "/" in agent or agent in ("", ".", "..") or not home.agent_logs(agent).is_dir():
            _ask_for(session, agent)
    if selector is not None:
        labelled = _with_labels(session, selector)
        if not labelled:
            raise HoldfastError(errors.NO_AGENT_MATCHES, selector=selector)
        return [agent for agent in labelled if not named or agent in named]
    return list(named) if named else _all_agents(session)


def _all_agents(session: Session) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(session.home.logs) if entry.is_dir(follow_symlinks=False))
    except OSError:
        session.hint(f"no agent has printed anything in {session.home.path}")
        return []


def _ask_for(session: Session, agent: str) -> None:
    """The keeper knows agents that never printed; its own error when it does not know this one either."""
    if "/" in agent or agent in ("", ".", ".."):  # no name of an agent, and none to put into a path
        raise HoldfastError(errors.AGENT_NOT_FOUND, agent=agent)
    try:
        session.client().get(f"/v1/agents/{agent}")
    except HoldfastError as error:
        if error.kind.code != errors.KEEPER_UNREACHABLE.code:
            raise
        raise HoldfastError(errors.AGENT_NOT_FOUND, agent=agent) from error


def _with_labels(session: Session, text: str) -> list[str]:
    """Labels are in the fleet, which the keeper left on disk: agents taken out of it have none any more."""
    from holdfast.keeper import fleet
    from holdfast.spec import selector

    try:
        wanted = selector.parse(text)
    except ValueError as error:
        raise _usage(f"--selector: {error}") from error
    known = fleet.load(session.home.path / fleet.FILE)
    return [agent.name for agent in (known.agents if known else ()) if selector.matches(wanted, agent.labels)]


# --- showing -----------------------------------------------------------------------------------------------------
Write = Callable[["Line"], None]


def _writer(style: Style) -> Write:
    stream = sys.stdout.buffer

    def write(line: Line) -> None:
        stream.write(style.shown(line))

    return write


def _backlog(
    session: Session, agents: Sequence[str], query: Query, write: Write, stack: ExitStack, *, follow: bool
) -> dict[str, Any]:
    """Show what is there. Returns a follower of each agent that goes on behind it."""
    from holdfast.logs.pieces import Stream
    from holdfast.logs.query import merge, select
    from holdfast.logs.read import Follower

    streams = {agent: Stream(os.fspath(session.home.agent_logs(agent))) for agent in agents}
    for stream in streams.values():
        stack.callback(stream.close)
    asked = {agent: select(agent, stream, query, whole_lines=follow) for agent, stream in streams.items()}
    for line in merge(lines for lines, _ in asked.values()):
        write(line)
    sys.stdout.buffer.flush()
    if not follow:
        return {}
    return {agent: Follower.behind(session.home, agent, stream, asked[agent][1]) for agent, stream in streams.items()}


def _follow(
    session: Session, followers: dict[str, Any], query: Query, write: Write, stack: ExitStack, *, everyone: bool
) -> None:
    """For ever: new lines of all followers. `everyone`: agents that come later too."""
    from holdfast.logs.query import Following
    from holdfast.logs.read import POLL_S, Follower

    filters = {agent: Following(agent, query) for agent in followers}
    looked_mono = time.monotonic()
    stack.callback(_close, followers)
    while True:
        found = False
        for agent, follower in followers.items():
            for line in filters[agent].feed(follower.poll(), time.time_ns()):
                write(line)
            found = found or follower.more
        sys.stdout.buffer.flush()
        if not found:
            time.sleep(POLL_S)
        if everyone and time.monotonic() - looked_mono > NEW_AGENTS_S:
            looked_mono = time.monotonic()
            for agent in set(_all_agents(session)) - set(followers):
                followers[agent] = Follower(session.home, agent)
                filters[agent] = Following(agent, query)


def _show_own(session: Session, named: tuple[str, ...], query: Query, asked: dict[str, Any]) -> None:
    """Holdfast's own processes, one after the other: their lines carry no time of capture."""
    from holdfast.logs import own
    from holdfast.logs.query import Following

    if asked["selector"] or query.since_ns is not None or query.until_ns is not None:
        raise _usage("--holdfast knows no labels and no times of lines: use -n or --grep")
    directory = session.home.own_logs
    known = own.processes(directory)
    for name in named:
        if name not in known:
            raise _usage(f"no log of {name!r}; there are: {', '.join(known) or 'none'}")
    chosen = list(named) or known
    write = _writer(_style(session, chosen, asked, many=not named))
    followers = {name: own.OwnFollower(directory, name) for name in chosen}
    filters = {name: Following(name, query) for name in chosen}
    with ExitStack() as stack:
        stack.callback(_close, followers)
        for name, follower in followers.items():
            for line in _last(_own_lines(name, follower, filters[name]), query.last):
                write(line)
        sys.stdout.buffer.flush()
        if asked["follow"]:
            _follow(session, followers, query, write, stack, everyone=False)


def _own_lines(name: str, follower: Any, wanted: Any) -> Iterator[Line]:
    while True:
        yield from wanted.feed(follower.poll(), time.time_ns())
        if not follower.more:
            return


def _close(followers: dict[str, Any]) -> None:
    for follower in followers.values():
        follower.close()


def _last(lines: Iterator[Line], count: int | None) -> Iterator[Line]:
    from collections import deque

    yield from lines if count is None else deque(lines, maxlen=count)
