"""`holdfast sleep|wake`: put agents to sleep by hand, and wake them."""

from __future__ import annotations

import click

from holdfast.cli.selecting import Choice, all_option, chosen, selector_option
from holdfast.cli.session import Command, Session, complete_agent, pass_session

WAIT_MAX_S = 600.0  # a stop with its grace, or a start that waits for memory
_WORDS = {"": "awake", "frozen": "asleep (frozen)", "stopped": "asleep (stopped)"}
_DOWN = frozenset({"stopped", "finished", "escalated", "shed", "spare", "backoff"})  # neither awake nor asleep


def _act(session: Session, verb: str, choice: Choice, *, wait: bool) -> None:
    """Each agent in turn; the first refusal ends it with the keeper's own error."""
    client = session.client()
    one_name = len(choice.names) == 1 and not (choice.selector or choice.everybody)
    names = [choice.names[0]] if one_name else [row["name"] for row in chosen(client, choice)]
    results = []
    for name in names:
        timeout_s = WAIT_MAX_S if wait else None
        result = client.post(f"/v1/agents/{name}/{verb}", {"wait": wait}, timeout_s=timeout_s)
        down = not result["asleep"] and result["phase"] in _DOWN
        session.say(f"{name}: {'does not sleep' if down else _WORDS[result['asleep']]}, {result['phase']}")
        results.append(result)
    if session.as_json:
        session.answer({"agents": results})


@click.command("sleep", cls=Command, examples=["holdfast sleep assistant", "holdfast sleep --wait -l team=research"])
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@selector_option
@all_option
@click.option("--wait", is_flag=True, help="Return when it sleeps rather than when it is accepted.")
@pass_session
def sleep(session: Session, agents: tuple[str, ...], selector: str | None, everybody: bool, wait: bool) -> None:
    """Put agents to sleep: frozen, or stopped where `idle` in holdfast.yaml says so.

    A sleeper is not asked how it is, and wakes like any that fell asleep by itself: when somebody connects to one of
    its ports, when a planned restart is due, when it is started or restarted, or by `holdfast wake`.
    """
    _act(session, "sleep", Choice(agents, selector, everybody), wait=wait)


@click.command("wake", cls=Command, examples=["holdfast wake assistant", "holdfast wake --wait --all"])
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@selector_option
@all_option
@click.option("--wait", is_flag=True, help="Return when it answers again.")
@pass_session
def wake(session: Session, agents: tuple[str, ...], selector: str | None, everybody: bool, wait: bool) -> None:
    """Wake agents that sleep; nothing happens to others. A stopped one is started when there is memory for it."""
    _act(session, "wake", Choice(agents, selector, everybody), wait=wait)
