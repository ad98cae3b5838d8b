"""`holdfast start|stop|restart`: what a person wants of agents that are declared already.

Nothing is asked back; `--dry-run` lists whom it would touch. A rolling restart is led from here with the keeper's
API: see rolling.py for what is left when this command dies in the middle (a sane fleet).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from holdfast import errors
from holdfast.cli.selecting import Choice, Row, all_option, chosen, selector_option, status_of
from holdfast.cli.session import Command, Session, complete_agent, pass_session
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.cli.client import KeeperClient
    from holdfast.cli.rolling import Roll, Terms

WAIT_MAX_S = 600.0  # longer than the longest sensible stop grace; the keeper answers as soon as it is done
LOOK_S = 0.25
RESTING = frozenset({"stopped", "finished", "shed", "hibernating", "spare"})


def _plain(choice: Choice) -> list[Row]:
    """A single name is taken as it is: the keeper knows best whether it exists."""
    return [{"name": name} for name in dict.fromkeys(choice.names)]


def _targets(client: KeeperClient, verb: str, choice: Choice) -> tuple[list[Row], list[Row]]:
    """Whom it is about, and who is left out: an agent that is to be down is not started by restarting its group."""
    rows = chosen(client, choice)
    if verb != "restart" or choice.names:
        return rows, []
    return [row for row in rows if row["phase"] not in RESTING], [r for r in rows if r["phase"] in RESTING]


def _act(session: Session, verb: str, choice: Choice, *, wait: bool, dry_run: bool, terms: Terms | None = None) -> None:
    """Ask the keeper for each agent in turn; the first refusal ends it with the keeper's own error."""
    client = session.client()
    one_name = len(choice.names) == 1 and not (choice.selector or choice.everybody or dry_run or terms)
    rows, left_out = (_plain(choice), []) if one_name else _targets(client, verb, choice)
    for row in left_out:
        is_down = "stopped on request" if row["phase"] in ("stopped", "finished") else row["phase"]
        session.say(f"{row['name']}: left as it is, {is_down}")
    if dry_run:
        for row in rows:
            session.say(f"{row['name']}: would {verb} ({row['phase']})")
        results = [{"agent": row["name"], "phase": row["phase"]} for row in rows]
    elif terms is not None:
        results = _roll(session, client, [row["name"] for row in rows], terms)
    else:
        results = [_ask(session, client, verb, row["name"], wait) for row in rows]
    if session.as_json:
        session.answer({"agents": results, **({"dry_run": True} if dry_run else {})})


def _ask(session: Session, client: KeeperClient, verb: str, agent: str, wait: bool) -> dict[str, Any]:
    result: dict[str, Any] = client.post(
        f"/v1/agents/{agent}/{verb}", {"wait": wait}, timeout_s=WAIT_MAX_S if wait else None
    )
    session.say(f"{result.get('agent', agent)}: {result.get('phase', '')}")
    return result


def _roll(session: Session, client: KeeperClient, names: list[str], terms: Terms) -> list[dict[str, Any]]:
    """One after the other, each well before the next. Raises ROLLING_STOPPED at the first that is not."""
    from holdfast.cli import rolling
    from holdfast.cli.watching import interruptible

    state = rolling.Roll(tuple(names))
    try:
        with interruptible():
            while not state.is_over:
                state = _step(session, client, state, terms, len(names))
                if not state.is_over:
                    time.sleep(LOOK_S)
    except KeyboardInterrupt:
        under_way = ", ".join(one.name for one in state.away) or "none"
        session.hint(
            f"\ninterrupted: {len(state.back)} of {len(names)} restarted; under way, and finished by the keeper: "
            f"{under_way}; not touched: {', '.join(state.waiting) or 'none'}"
        )
        raise
    if state.failed:
        raise HoldfastError(
            errors.ROLLING_STOPPED,
            agent=state.failed,
            why=state.why,
            done=len(state.back),
            total=len(names),
            left=", ".join(state.waiting) or "none",
        )
    return [{"agent": name, "phase": "healthy"} for name in state.back]


def _step(session: Session, client: KeeperClient, state: Roll, terms: Terms, total: int) -> Roll:
    """One look, and the restarts that may be asked for after it. A keeper being replaced is waited for."""
    from holdfast.cli import rolling
    from holdfast.cli.watching import look

    status = look(client, lambda: status_of(client, Choice()))
    if status is None:
        return state
    rows = {row["name"]: row for row in status["agents"]}
    before, now_mono = len(state.back), time.monotonic()
    state = rolling.look(state, rows, terms, now_mono)
    for number, name in enumerate(state.back[before:], start=before + 1):
        session.say(f"{name}: back and well ({number} of {total})")
    for name in rolling.due(state, terms):
        row = rows.get(name)
        if row is None:
            raise HoldfastError(errors.AGENT_NOT_FOUND, agent=name)
        client.post(f"/v1/agents/{name}/restart", {"wait": False})
        state = rolling.begun(state, row, now_mono)
        session.say(f"{name}: restarting")
    return state


def _options(verb: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What the three have in common."""

    def apply(command: Callable[..., None]) -> Callable[..., None]:
        command = click.option("--dry-run", is_flag=True, help="Only list whom it would touch.")(command)
        command = click.option("--wait", is_flag=True, help="Return when it is done rather than when it is accepted.")(
            command
        )
        command = all_option(selector_option(command))
        return click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)(command)

    return apply


def _command(verb: str, summary: str) -> click.Command:
    @click.command(
        verb,
        cls=Command,
        help=summary,
        examples=[
            f"holdfast {verb} assistant",
            f"holdfast {verb} --wait web worker",
            f"holdfast {verb} -l team=research --dry-run",
            f"holdfast {verb} --all",
        ],
    )
    @_options(verb)
    @pass_session
    def act(
        session: Session, agents: tuple[str, ...], selector: str | None, everybody: bool, wait: bool, dry_run: bool
    ) -> None:
        _act(session, verb, Choice(agents, selector, everybody), wait=wait, dry_run=dry_run)

    return act


start = _command("start", "Start agents that are stopped, finished or escalated.")
stop = _command("stop", "Stop agents gracefully, the whole tree of processes; they stay down until they are started.")


@click.command(
    "restart",
    cls=Command,
    examples=[
        "holdfast restart assistant",
        "holdfast restart --wait web worker",
        "holdfast restart -l team=research --dry-run",
        "holdfast restart -l team=research --rolling --max-unavailable 2",
        "holdfast restart --all --rolling --settle 30",
    ],
)
@_options("restart")
@click.option("--rolling", is_flag=True, help="One after the other, each well again before the next.")
@click.option("--max-unavailable", type=click.IntRange(1), metavar="N", help="With --rolling: so many at a time. [1]")
@click.option("--settle", type=click.FloatRange(0), metavar="S", help="With --rolling: well for so long first. [3]")
@click.option("--timeout", type=click.FloatRange(0), metavar="S", help="With --rolling: patience with each. [300]")
@pass_session
def restart(
    session: Session,
    agents: tuple[str, ...],
    selector: str | None,
    everybody: bool,
    wait: bool,
    dry_run: bool,
    rolling: bool,
    max_unavailable: int | None,
    settle: float | None,
    timeout: float | None,
) -> None:
    """Stop agents gracefully and start them again; counts as planned, not as a failure.

    --rolling waits for each agent to be healthy for --settle seconds before the next, and stops at the first that
    does not come back (exit code 3); those not reached yet are not touched. Ctrl-C leaves no more than the restarts
    under way, which Holdfast finishes. Agents stopped on request are restarted only when they are named.
    """
    terms = None
    if rolling:
        from holdfast.cli.rolling import Terms

        usual = Terms()
        terms = Terms(
            max_unavailable or usual.at_once,
            usual.settle_s if settle is None else settle,
            usual.timeout_s if timeout is None else timeout,
        )
    elif max_unavailable is not None or settle is not None or timeout is not None:
        raise click.UsageError("--max-unavailable, --settle and --timeout belong to --rolling")
    _act(session, "restart", Choice(agents, selector, everybody), wait=wait, dry_run=dry_run, terms=terms)
