"""`holdfast start|stop|restart AGENT…`: what a person wants of agents that are declared already."""

from __future__ import annotations

import click

from holdfast.cli.session import Command, Session, complete_agent, pass_session

WAIT_MAX_S = 600.0  # longer than the longest sensible stop grace; the keeper answers as soon as it is done


def _act(session: Session, verb: str, agents: tuple[str, ...], wait: bool) -> None:
    """Ask the keeper for each agent in turn; the first refusal ends it with the keeper's own error."""
    client = session.client()
    results = []
    for agent in agents:
        timeout_s = WAIT_MAX_S if wait else None
        result = client.post(f"/v1/agents/{agent}/{verb}", {"wait": wait}, timeout_s=timeout_s)
        session.say(f"{result.get('agent', agent)}: {result.get('phase', '')}")
        results.append(result)
    if session.as_json:
        session.answer({"agents": results})


def _command(verb: str, summary: str) -> click.Command:
    @click.command(
        verb, cls=Command, help=summary, examples=[f"holdfast {verb} assistant", f"holdfast {verb} --wait web worker"]
    )
    @click.argument("agents", nargs=-1, required=True, metavar="AGENT...", shell_complete=complete_agent)
    @click.option("--wait", is_flag=True, help="Return when it is done rather than when it is accepted.")
    @pass_session
    def act(session: Session, agents: tuple[str, ...], wait: bool) -> None:
        _act(session, verb, agents, wait)

    return act


start = _command("start", "Start agents that are stopped, finished or escalated.")
stop = _command("stop", "Stop agents gracefully, the whole tree of processes; they stay down until they are started.")
restart = _command("restart", "Stop agents gracefully and start them again; counts as planned, not as a failure.")
