"""Planted bugs: each breaks one rule of init on purpose. The campaign must catch every one of them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.init import adopt, guard, launch, services, spawn, supervise, tree

ROOT = Path(__file__).resolve().parents[2]


def adopt_nobody() -> None:
    """A new init believes that all it remembers is dead."""

    def take_over(supervisor: supervise.Supervisor) -> None:
        for agent in supervisor.agents.values():
            if agent.state in ("up", "stopping"):
                supervisor.exited(agent, {})

    adopt.take_over = take_over


def forget_births() -> None:
    """A birth that was not confirmed is asked for again without looking, and no lock stands in the way.

    Init is also killed when it first hears of an agent's second birth: a death in the middle of one is sure to come.
    """
    hear = supervise.Supervisor.born

    def deadly(self: supervise.Supervisor, message: dict[str, Any]) -> None:
        home = Path(sys.argv[sys.argv.index("--home") + 1])
        heard = home / f"{message['agent']}.heard"
        if message["epoch"] > 1 and not heard.exists():
            heard.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        hear(self, message)

    supervise.Supervisor.born = deadly  # type: ignore[method-assign]

    def resolve(supervisor: supervise.Supervisor) -> None:
        for agent in supervisor.agents.values():
            if agent.state == "spawning":
                supervisor.births.append(agent.name)

    adopt.resolve_births = resolve
    spawn.fcntl.flock = lambda *_: None  # type: ignore[assignment]


def no_sweep() -> None:
    """What the dead instance left behind stays; and the lock that would still lead to it is not taken."""
    tree.members = lambda *_: []  # type: ignore[assignment]
    tree.is_empty_v2 = lambda _: True
    spawn.fcntl.flock = lambda *_: None  # type: ignore[assignment]


def spawn_twice() -> None:
    """An exit is answered by two births, with no lock against it."""
    plain = supervise.Supervisor._spawn

    def twice(self: supervise.Supervisor, agent: supervise.Agent, cause: str) -> None:
        plain(self, agent, cause)
        self.births.append(agent.name)

    supervise.Supervisor._spawn = twice  # type: ignore[method-assign]
    spawn.fcntl.flock = lambda *_: None  # type: ignore[assignment]


def lonely_guard() -> None:
    """Guard does not restart init."""
    first = guard.Guard.start_init

    def once(self: guard.Guard) -> None:
        if self.init_restarts == 0:
            first(self)

    guard.Guard.start_init = once  # type: ignore[method-assign]


def forgetful_journal() -> None:
    """Births and deaths are not written down."""
    supervise.Supervisor.settle = lambda self: None  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__.replace("_", "-"): bug
    for bug in (adopt_nobody, forget_births, no_sweep, spawn_twice, lonely_guard, forgetful_journal)
}


def hasty_last_resort() -> None:
    """No bug: the user's last resort is run after half a second without a keeper instead of a minute."""
    services.LAST_RESORT_AFTER_S = 0.5


VARIANTS: dict[str, Callable[[], None]] = {**BUGS, "hasty-last-resort": hasty_last_resort}


def planted(name: str) -> Callable[[str, str], int]:
    """A `start_guard` whose guard and all its inits carry the bug."""
    boot = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'src')!r}]; "
        f"from tests.crash import bugs; bugs.carry({name!r}); "
    )

    def start(home: str, run: str) -> int:
        log = os.open(f"{home}/log/guard.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        argv = [sys.executable, "-I", "-S", "-c", f"{boot}from holdfast.init.guard import main; main()"]
        argv += ["--home", home, "--run", run]
        actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        pid = os.posix_spawn(argv[0], argv, launch.environment(), file_actions=actions, setsid=True)
        os.close(log)
        return pid

    return start


def carry(name: str) -> None:
    """In guard and init: plant the bug here, and make sure that the next one is started with it too."""
    plain = launch.interpreter_argv

    def carried(module: str, *arguments: str) -> list[str]:
        argv = plain(module, *arguments)
        argv[4] = argv[4].replace(
            f"from holdfast.init.{module}",
            f"sys.path.insert(0, {str(ROOT)!r}); from tests.crash import bugs; bugs.carry({name!r}); "
            f"from holdfast.init.{module}",
        )
        return argv

    launch.interpreter_argv = carried
    VARIANTS[name]()
