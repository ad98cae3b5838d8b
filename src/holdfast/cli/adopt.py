"""`holdfast adopt`: take over an existing OpenClaw or Hermes where it is, and give it back with one command.

Shows the plan, asks, and carries it out; whatever interrupts it, `--resume` or `--undo` goes on from there.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast import errors, limits
from holdfast.cli.session import Command, Session, pass_session
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.adoption.journal import Journal
    from holdfast.adoption.model import Adoption, Found
    from holdfast.spec.model import AgentSpec, FleetSpec

UP_MAX_S = 120.0


@click.command(
    cls=Command,
    examples=[
        "holdfast adopt openclaw --dry-run    what would be done",
        "holdfast adopt hermes --yes",
        "holdfast adopt undo                  give it back to the unit that ran it before",
        "holdfast adopt --resume              finish an adoption that was interrupted",
    ],
)
@click.argument("what", required=False, type=click.Choice(["openclaw", "hermes", "undo"]))
@click.option("-f", "--file", "file", metavar="FILE", default="holdfast.yaml", help="Where to declare it.")
@click.option("--name", help="Name of the agent; openclaw or hermes otherwise.")
@click.option("--state", metavar="DIR", help="Which one, where there are several: its state directory.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@click.option("--resume", is_flag=True, help="Finish what was interrupted.")
@click.option("--undo", is_flag=True, help="Undo what was interrupted, or the last adoption.")
@click.option(
    "--wait", "quiet_s", type=click.FloatRange(min=0), default=limits.ADOPT_QUIET_S, show_default=True, metavar="S",
    help="How long a turn under way may take to end; 0 cuts it off.",
)  # fmt: skip
@click.option("--timeout", "timeout_s", type=float, default=limits.ADOPT_HEALTHY_S, show_default=True, metavar="S")
@pass_session
def adopt(session: Session, /, what: str | None, **options: Any) -> None:
    """Take over an existing installation in place: same user, same state, same port; one command undoes it."""
    from holdfast.adoption import journal

    back = options["undo"] or what == "undo"
    if not (what or options["resume"] or back):
        raise HoldfastError(errors.USAGE, reason="say what: openclaw, hermes or undo", command="holdfast adopt")
    home = session.home
    with _alone(session):
        known = journal.load(home)
        if back or options["resume"]:
            _continue(session, known, what, options, back)
            return
        unfinished = next((each for each in known if not each.finished), None)
        if unfinished is not None:
            step = (unfinished.begun or ["preparing"])[-1]
            raise HoldfastError(errors.ADOPTION_UNFINISHED, agent=unfinished.agent, step=step)
        _adopt(session, str(what), options)


def _adopt(session: Session, what: str, options: dict[str, Any]) -> None:
    from holdfast.adoption import apply, plan

    found = choose(what, options["state"])
    file, name = Path(options["file"]).absolute(), options["name"] or what
    body = plan.declaration(found, os.geteuid() == 0, "")
    planned = plan.steps(found, str(file), name, options["quiet_s"])
    if options["dry_run"] or not session.as_json:
        _show(session, found, body, planned)
    if options["dry_run"]:
        return
    if not options["yes"] and not _agreed(session):
        raise HoldfastError(errors.USAGE, reason="nothing was changed", command="holdfast adopt")
    made = apply.intend(session.home, found, name, file)
    made.save()
    _carry_out(session, made, options["quiet_s"], options["timeout_s"])


def _continue(session: Session, known: list[Adoption], what: str | None, options: dict[str, Any], back: bool) -> None:
    from holdfast.adoption.journal import Journal

    fitting = [
        each
        for each in known
        if (back or not each.finished)
        and (what in (None, "undo") or each.kind == what)
        and (options["name"] is None or each.agent == options["name"])
    ]
    if not fitting:
        reason = "there is no adoption to undo" if back else "no adoption was interrupted"
        raise HoldfastError(errors.ADOPTION_NOT_FOUND, what=reason)
    if len(fitting) > 1 and fitting[0].finished:
        names = ", ".join(each.agent for each in fitting)
        raise HoldfastError(errors.USAGE, reason=f"which one, with --name: {names}", command="holdfast adopt undo")
    chosen = Journal(session.home, fitting[0])
    if back and not options["yes"] and not session.as_json and chosen.adoption.finished and sys.stdin.isatty():
        owner = chosen.adoption.former.words
        if not click.confirm(f"Give {chosen.adoption.agent} back to {owner}?", default=True):
            return
    if back and chosen.adoption.direction != "undo":
        chosen.turn("asked for")
    _carry_out(session, chosen, options["quiet_s"], options["timeout_s"])


def _carry_out(session: Session, journal: Journal, quiet_s: float, timeout_s: float) -> None:
    from holdfast.adoption import apply

    adoption = journal.adoption
    apply.go_on(journal, RunningFleet(session), session.hint, quiet_s, timeout_s)
    undone = adoption.direction == "undo"
    if session.as_json:
        done = {"agent": adoption.agent, "kind": adoption.kind, "file": adoption.file, "adopted": not undone}
        session.answer({**done, "former": {"kind": adoption.former.kind, "name": adoption.former.name}})
    elif undone:
        click.echo(f"{adoption.agent} is given back to {adoption.former.words}")
    else:
        click.echo(f"{adoption.agent} is kept alive by Holdfast now; `holdfast adopt undo` gives it back")


def choose(what: str, state: str | None) -> Found:
    """The installation that is meant. Raises ADOPTION_NOT_FOUND, USAGE."""
    from holdfast.adoption import discover, former, machine

    snapshot = machine.look()
    found = [each for each in discover.discover(snapshot) if each.kind == what]
    if state is not None:
        found = [each for each in found if each.state_dir == os.path.abspath(os.path.expanduser(state))]
    running = [each for each in found if each.running]
    found = running if len(running) == 1 else found
    if not found:
        raise HoldfastError(errors.ADOPTION_NOT_FOUND, what=f"no {what} was found on this machine that you may manage")
    if len(found) > 1:
        places = ", ".join(each.state_dir for each in found)
        raise HoldfastError(errors.USAGE, reason=f"which one, with --state: {places}", command=f"holdfast adopt {what}")
    if os.geteuid() not in (0, found[0].uid):
        reason = f"it belongs to {found[0].user}"
        raise HoldfastError(errors.ADOPTION_REFUSED, what=found[0].state_dir, reason=reason)
    return former.confirm(found[0], discover.units_for(snapshot, found[0]))


def _show(session: Session, found: Found, body: dict[str, Any], planned: list[str]) -> None:
    from holdfast.adoption import plan

    if session.as_json:
        session.answer(plan.as_json(found, body, planned))
        return
    for line in plan.told(found):
        click.echo(line)
    click.echo("plan:")
    for number, step in enumerate(planned, 1):
        click.echo(f"  {number}. {step}")


def _agreed(session: Session) -> bool:
    if session.as_json or not sys.stdin.isatty():
        raise HoldfastError(
            errors.USAGE, reason="this is not a terminal to ask on: add --yes", command="holdfast adopt"
        )
    return click.confirm("Do this?", default=True)


class _alone:
    """One adoption at a time in a home; the lock is the kernel's and dies with us."""

    def __init__(self, session: Session) -> None:
        self.home = session.home

    def __enter__(self) -> None:
        self.home.prepare()
        self.fd = os.open(self.home.path / "adoption.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.fd)
            raise HoldfastError(
                errors.ADOPTION_REFUSED, what=self.home.path, reason="another `holdfast adopt` is at work"
            ) from error

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


class RunningFleet:
    """The Holdfast of this home, for an adoption."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.client = session.client()

    def put(self, agent: AgentSpec, whole: FleetSpec) -> None:
        import msgspec

        from holdfast.cli import starting

        starting.start_holdfast(self.session, self.client, whole.last_resort or None, UP_MAX_S)
        fleet = msgspec.structs.replace(whole, agents=(agent,))
        self.client.put("/v1/fleet", msgspec.json.encode(fleet), merge=1)
        self.client.post(f"/v1/agents/{agent.name}/start", {"wait": False})

    def state(self, name: str) -> tuple[str, str]:
        row = self._row(name)
        return (str(row.get("phase", "")), str(row.get("why", ""))) if row else ("", "")

    def take_out(self, name: str) -> None:
        from holdfast.cli import starting

        ran = starting.is_owned(self.session.home) or self.session.home.database.exists()
        if not ran and not self.left(name):
            return  # Holdfast never ran here
        starting.start_holdfast(self.session, self.client, None, UP_MAX_S)
        try:
            self.client.delete(f"/v1/fleet/{name}")
        except HoldfastError as error:
            if error.kind.code != errors.AGENT_NOT_FOUND.code:
                raise
            return
        starting.wait_for(lambda: not self.left(name), limits.SERVICE_STOP_S, 0.2)

    def left(self, name: str) -> bool:
        from holdfast.cli import starting

        return name in starting.agents_left(self.session.home).values()

    def _row(self, name: str) -> dict[str, Any]:
        try:
            rows = self.client.get("/v1/status").get("agents", [])
        except HoldfastError:
            return {}
        return next((row for row in rows if row["name"] == name), {})
