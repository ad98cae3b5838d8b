"""`holdfast setup`: from an empty home to an agent that is kept alive, by a few questions.

Looks around, says what was found, asks everything first, and only then does it: it writes holdfast.yaml (never over an
existing one) and runs the very commands it has shown. So Ctrl-C at a question leaves everything as it was.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, pass_session
from holdfast.cli.setting_up import Plan, carry_out, declare, say
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.adoption.first_file import Channel
    from holdfast.adoption.proposal import Offer
    from holdfast.adoption.surroundings import Surroundings


@click.command(
    cls=Command,
    examples=[
        "holdfast setup                                  look around, ask, do it",
        "holdfast setup --dry-run                        what was found, and what would be done",
        "holdfast setup --yes --alert ntfy:https://ntfy.sh/my-topic",
    ],
)
@click.option("-f", "--file", "file", metavar="FILE", default="holdfast.yaml", help="Where to declare agents.")
@click.option("--alert", "alert", metavar="WHERE", help="ntfy:URL, webhook:URL, command:LINE or none; not asked then.")
@click.option("--yes", is_flag=True, help="Do not ask; take what is safest. Nothing is adopted, no service installed.")
@click.option("--dry-run", is_flag=True, help="Only say what was found and what --yes would do.")
@pass_session
def setup(session: Session, /, file: str, alert: str | None, yes: bool, dry_run: bool) -> int:
    """Look around here, and bring what is found under Holdfast's care: an OpenClaw, a Hermes, a program, containers.

    Nothing is changed before the last question is answered. With --json: findings and plan, and nothing is changed.
    """
    from holdfast.adoption import proposal, surroundings
    from holdfast.cli import starting

    asks = not (yes or dry_run or session.as_json)
    if asks and not sys.stdin.isatty():
        reason = "there is no terminal to ask on: add --yes, or --dry-run or --json to see what would be done"
        raise HoldfastError(errors.USAGE, reason=reason, command="holdfast setup")
    given = _channel_given(alert) if alert else None
    home, path = session.home, Path(file).absolute()
    seen = surroundings.look(path.parent, path, home.path, starting.is_owned(home))
    choices = proposal.offers(seen)
    if not session.as_json:
        _tell(seen)
    plan = _asked(seen, choices, path, alert, given) if asks else _unasked(seen, choices, path, given)
    if session.as_json:
        session.answer(_as_json(seen, choices, plan))
        return 0
    if plan is None:
        say("nothing was changed; `holdfast run -- COMMAND` keeps one command alive")
        return 0
    _show(plan)
    if dry_run:
        say("nothing was changed")
        return 0
    if asks and not click.confirm("Do this?", default=True):
        say("nothing was changed")
        return 0
    return carry_out(session, plan)


# --- choosing --------------------------------------------------------------------------------------------------------
def _asked(
    seen: Surroundings, choices: list[Offer], path: Path, alert: str | None, given: Channel | None
) -> Plan | None:
    say("What shall Holdfast do?")
    for number, offer in enumerate(choices, 1):
        say(f"{number}. {offer.title}", "  ", "     ")
    offer = choices[_number("Choice", len(choices)) - 1]
    if offer.kind == "nothing":
        return None
    if offer.kind == "command":
        offer = _typed(seen)
    plan = Plan(offer, path)
    if not seen.file_alerts:
        plan.channel = given if alert else _ask_channel()
    declare(plan)
    if offer.needs:
        plan.start = False
    elif offer.kind != "adopt":
        plan.start = click.confirm("Start it now?", default=True)
    if plan.start:
        plan.service = click.confirm("Start Holdfast at boot too?", default=False)
    return plan


def _unasked(seen: Surroundings, choices: list[Offer], path: Path, given: Channel | None) -> Plan | None:
    from holdfast.adoption import proposal

    offer = proposal.safest(choices)
    if offer is None:
        return None
    plan = Plan(offer, path, channel=None if seen.file_alerts else given, start=not offer.needs)
    declare(plan)
    for one in choices:
        if one.kind == "adopt":
            plan.notes.append(f"found and left alone: `holdfast adopt {one.what} --state {one.state}` takes it over")
    return plan


def _typed(seen: Surroundings) -> Offer:
    from holdfast.adoption import proposal

    while True:
        candidate = proposal.of_command(click.prompt("The command"), seen)
        if candidate is not None:
            return proposal.Offer(kind="file", title=candidate.found, candidates=(candidate,))
        say("that is no command line: look at its quotes")


def _ask_channel() -> Channel | None:
    say("Who is told when an agent cannot be healed?")
    words = ("nobody yet", "a push by ntfy (a URL)", "a webhook (a URL)", "a command")
    for number, each in enumerate(words, 1):
        say(f"{number}. {each}", "  ", "     ")
    chosen = _number("Choice", len(words))
    if chosen == 1:
        return None
    kind = ("", "ntfy", "webhook", "command")[chosen - 1]
    while True:
        text = click.prompt("The command" if kind == "command" else "The URL")
        try:
            return _channel(kind, text)
        except HoldfastError as error:
            say(error.summary)


def _channel_given(text: str) -> Channel | None:
    """--alert. Raises USAGE."""
    if text == "none":
        return None
    kind, colon, value = text.partition(":")
    if not colon or kind not in ("ntfy", "webhook", "command"):
        reason = f"--alert {kind}: expected ntfy:URL, webhook:URL, command:LINE or none"
        raise HoldfastError(errors.USAGE, reason=reason, command="holdfast setup")
    return _channel(kind, value)


def _channel(kind: str, text: str) -> Channel:
    """Raises USAGE; the text is not repeated, it may hold a token."""
    from holdfast.adoption.first_file import Channel

    try:
        if kind == "command" and (words := shlex.split(text)):
            return Channel(kind=kind, value=words)
        parts = urlsplit(text.strip())
        if kind != "command" and parts.scheme in ("http", "https") and parts.hostname:
            return Channel(kind=kind, value=text.strip())
    except ValueError:
        pass
    wanted = "a command line" if kind == "command" else "a URL such as https://ntfy.sh/my-topic"
    raise HoldfastError(errors.USAGE, reason=f"expected {wanted}", command="holdfast setup")


def _number(words: str, highest: int) -> int:
    found: int = click.prompt(words, default=1, type=click.IntRange(1, highest))
    return found


# --- words -----------------------------------------------------------------------------------------------------------
def _tell(seen: Surroundings) -> None:
    from holdfast.adoption import proposal

    lines = proposal.told(seen)
    say("Found here:" if lines else "Nothing was found here that looks like an agent.")
    for line in lines:
        say(line.strip(), "    " if line.startswith(" ") else "  ", "    ")


def _show(plan: Plan) -> None:
    say("Plan:")
    if plan.text is not None:
        say(f"write {plan.file}", "  ", "    ")
        if plan.offer.needs:
            for line in plan.text.splitlines():
                if line.strip().startswith("# before it runs:"):
                    say(line.strip().lstrip("# "), "    ", "      ")
    for words in plan.commands():
        say(f"holdfast {shlex.join(words)}", "  ", "    ")


def _as_json(seen: Surroundings, choices: list[Offer], plan: Plan | None) -> dict[str, Any]:
    """No arguments and no environment of anybody's process, so no secrets."""
    from holdfast.adoption import proposal

    found = {
        "directory": seen.directory, "file": seen.file or None, "home": seen.home, "home_runs": seen.home_runs,
        "said": proposal.told(seen),
    }  # fmt: skip
    offered = [
        {"kind": one.kind, "title": one.title, "agents": [each.name for each in one.candidates],
         "needs": list(one.needs), "what": one.what or None, "state": one.state or None}
        for one in choices
    ]  # fmt: skip
    steps = None
    if plan is not None:
        written = {"file": str(plan.file), "content": plan.text} if plan.text is not None else None
        steps = {"write": written, "commands": [["holdfast", *words] for words in plan.commands()]}
    return {"found": found, "offers": offered, "plan": steps, "changed": False}
