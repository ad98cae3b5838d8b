"""`holdfast top`: the whole fleet, or one agent with its timeline, once a second. Keys act on it.

Invariant: looking costs one request a second (three for one agent), made beside the keys by a thread of its own; a
keeper being replaced is said and waited for. Without a terminal one frame is printed.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from holdfast import errors
from holdfast.cli.selecting import Choice, selector_option, status_of
from holdfast.cli.session import Command, Session, complete_agent, pass_session
from holdfast.cli.top_view import SORTS, View, press, rows_shown, settled
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.cli.client import KeeperClient
    from holdfast.cli.top_frame import Seen

EVENTS_SHOWN = 200
LOG_LINES_SHOWN = 500
REQUEST_TIMEOUT_S = 5.0
PLAIN_WIDTH, PLAIN_HEIGHT = 120, 10_000  # of a frame that goes to a file


@click.command(
    cls=Command,
    examples=[
        "holdfast top",
        "holdfast top assistant",
        "holdfast top -l team=research --sort memory",
        "holdfast top --once",
        "holdfast top --json",
    ],
)
@click.argument("agent", required=False, shell_complete=complete_agent)
@selector_option
@click.option("--sort", type=click.Choice(SORTS), default="file", show_default=True, help="Order of the agents.")
@click.option("--every", type=click.FloatRange(0.2, 3600), default=1.0, show_default=True, metavar="S")
@click.option("--once", is_flag=True, help="Print one frame and end; so it is without a terminal.")
@pass_session
def top(session: Session, agent: str | None, selector: str | None, sort: str, every: float, once: bool) -> int:
    """Watch the fleet, or one agent with its timeline.

    Keys: arrows or j k choose · enter one agent · r restart (asks) · l logs · d describe · e events · / filter ·
    s sort · esc back · q quit.
    """
    view = View(sort=sort, agent=agent or "", selected=agent or "", pinned=bool(agent))
    watcher = Watcher(session.client(REQUEST_TIMEOUT_S), Choice(selector=selector))
    if session.as_json:
        session.answer(watcher.as_json(view))
        return 0
    if once or not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        return _print_once(watcher, view)
    return _live(watcher, view, every)


class Watcher:
    """Looks at the fleet: what one frame needs, with as few requests as it takes."""

    def __init__(self, client: KeeperClient, choice: Choice) -> None:
        self._client = client
        self._choice = choice
        self._cpu: dict[int, tuple[float, float]] = {}  # of our processes: monotonic time, CPU seconds
        self._events_of = ""
        self._events: list[dict[str, Any]] = []

    def look(self, view: View) -> Seen:
        """Everything `view` shows. Raises HoldfastError; a keeper that is away is no error after the first look."""
        from holdfast.cli.top_frame import Seen
        from holdfast.node import overview

        status = status_of(self._client, self._choice)
        seen = Seen(status=status, node=overview.look(self._client.home.path), clock=time.strftime("%H:%M:%S"))
        seen.own = [self._process(row) for row in (status.get("holdfast") or {}).get("processes", [])]
        if view.agent:
            self._look_at(view, seen)
        return seen

    def restart(self, name: str) -> None:
        self._client.post(f"/v1/agents/{name}/restart", {"wait": False})

    def as_json(self, view: View) -> dict[str, Any]:
        """The same facts for programs: the status, the machine, our processes; of one agent also its timeline."""
        seen = self.look(view)
        status = seen.status or {}
        machine = seen.node._asdict() if seen.node else {}
        answer: dict[str, Any] = {**status, "node": {**(status.get("node") or {}), **machine} or None}
        answer["processes"] = seen.own
        if view.agent:
            answer |= {"agent": seen.known, "events": seen.events, "logs": seen.logs}
        return answer

    def _look_at(self, view: View, seen: Seen) -> None:
        """The one agent: what is known, its newest records, its last lines."""
        try:
            seen.known = self._client.get(f"/v1/agents/{view.agent}")
        except HoldfastError as error:
            if error.kind.code != errors.AGENT_NOT_FOUND.code or not self._events_of:
                raise
        self._follow(view.agent)
        seen.events = self._events
        if view.pane != "describe":
            path = f"/v1/agents/{view.agent}/logs"
            lines = LOG_LINES_SHOWN if view.pane == "logs" else LOG_LINES_SHOWN // 10
            raw = self._client.stream(path, follow=False, lines=lines)
            seen.logs = [line.decode("utf-8", "replace") for line in raw]

    def _follow(self, agent: str) -> None:
        """Only what is new is asked for."""
        import json

        if self._events_of != agent:
            self._events_of, self._events = agent, []
        after = self._events[-1]["seq"] if self._events else 0
        lines = self._client.stream("/v1/events", follow=False, agent=agent, after=after, last=EVENTS_SHOWN)
        self._events = [*self._events, *(json.loads(line) for line in lines if line.strip())][-EVENTS_SHOWN:]

    def _process(self, row: dict[str, Any]) -> dict[str, Any]:
        """One of our own processes with its memory and, from the second look on, its share of a core."""
        from holdfast.node import overview

        pid = row.get("pid")
        use = overview.process(pid) if pid else None
        if not pid or use is None:
            return {**row, "rss_bytes": None, "cpu": None}
        now_mono, before = time.monotonic(), self._cpu.get(pid)
        self._cpu[pid] = (now_mono, use.cpu_s)
        elapsed_s = now_mono - before[0] if before else 0.0
        cpu = max(0.0, use.cpu_s - before[1]) / elapsed_s if before and elapsed_s > 0 else None
        return {**row, "rss_bytes": use.rss_bytes, "cpu": None if cpu is None else round(cpu, 4)}


def _print_once(watcher: Watcher, view: View) -> int:
    from holdfast.cli.render import coloured, terminal_width
    from holdfast.cli.top_frame import frame, plain

    seen = watcher.look(view)
    view = settled(view, rows_shown(view, seen.rows)) if view.agent else view
    lines = frame(view, seen, terminal_width() or PLAIN_WIDTH, PLAIN_HEIGHT)
    # the last two lines are keys, which nobody can press here
    text = plain([line for line in lines[:-2] if line])
    if coloured() and not view.agent:
        text = "\n".join(_painted(line) for line in lines[:-2] if line)
    click.echo(text)
    return 0


def _painted(line: Any) -> str:
    from holdfast.cli.render import paint

    colours = {"red", "green", "yellow", "cyan", "blue"}
    return "".join(paint(text, next((c for c in style.split() if c in colours), None)) for text, style in line).rstrip()


def _live(watcher: Watcher, view: View, every_s: float) -> int:
    from holdfast.cli.top_frame import frame, page, scroll_max
    from holdfast.cli.top_terminal import Ended, Terminal

    first = watcher.look(view)  # a keeper that is not there, or a wrong name, is told as by every other command
    try:
        with Terminal() as terminal:
            looking = Looking(watcher, view, first, every_s, terminal.wake)
            while not view.is_over:
                seen, trouble = looking.newest()
                rows = rows_shown(view, seen.rows)
                view = settled(view, rows) if not view.agent else view
                width, height = terminal.size
                view = replace(view, scroll=min(view.scroll, scroll_max(view, seen, width, height)))
                terminal.paint(frame(replace(view, message=trouble) if trouble else view, seen, width, height))
                for key in terminal.wait(None):
                    view = press(view, key, rows, page(view, seen, width, height))
                if view.restart:
                    looking.restart(view.restart)
                    view = replace(view, restart="")
                looking.show(view)
    except Ended as ended:
        return 128 + ended.number
    except EOFError:
        pass
    return 0


class Looking:
    """The thread that looks, so that keys never wait for the keeper."""

    def __init__(self, watcher: Watcher, view: View, first: Seen, every_s: float, wake: Any) -> None:
        self._watcher = watcher
        self._view = view
        self._seen = first
        self._trouble = ""
        self._every_s = every_s
        self._wake = wake
        self._acts: queue.SimpleQueue[str] = queue.SimpleQueue()  # names to restart; "" to look at once
        threading.Thread(target=self._run, daemon=True).start()

    def newest(self) -> tuple[Seen, str]:
        """What was seen last, and what a request was refused for."""
        trouble, self._trouble = self._trouble, ""
        return self._seen, trouble

    def show(self, view: View) -> None:
        """From now on look for this view; at once where it shows something else."""
        changed = (view.agent, view.pane) != (self._view.agent, self._view.pane)
        self._view = view
        if changed:
            self._acts.put("")

    def restart(self, name: str) -> None:
        self._acts.put(name)

    def _run(self) -> None:
        while True:
            try:
                name = self._acts.get(timeout=self._every_s)
            except queue.Empty:
                name = ""
            try:
                if name:
                    self._watcher.restart(name)
                self._seen = self._watcher.look(self._view)
            except HoldfastError as error:
                if error.kind.code == errors.KEEPER_UNREACHABLE.code:
                    self._seen = replace(self._seen, status=None)
                else:
                    self._trouble = error.summary
            self._wake()
