"""A keeper that sets agents aside and calls them back as a file says: HOME/orders.json, a word for each agent.

Run in the place of `holdfast.keeper`. The words: "hibernating", "spare", "shed", or "back"; said until the ladder shows
it. HOME/die.json, `["SetAside", "stored"]`, kills it once: `before` that observation is decided, when its outcome is
`stored` and nothing was done about it, or `after` all was done.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from holdfast.api.serve import serve_keeper
from holdfast.healing.actions import Arm
from holdfast.healing.model import CalledBack, SetAside
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.main import main

LOOK_S = 0.02


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def obey(home: Path) -> None:
    """Put the double's words between triage and the keeper."""
    orders, death = home / "orders.json", home / "die.json"
    real_observe, real_act, real_run = Healer.observe, Healer._act, Keeper.run
    seen_now: list[str] = []

    def die_at(moment: str) -> None:
        if seen_now and _read(death) == [seen_now[-1], moment]:
            death.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def observe(self: Healer, agent: Any, seen: Any, *args: Any, **more: Any) -> None:
        seen_now.append(type(seen).__name__)
        die_at("before")
        real_observe(self, agent, seen, *args, **more)
        die_at("after")
        seen_now.pop()

    def act(self: Healer, agent: Any, action: Any) -> None:
        if not isinstance(action, Arm):
            die_at("stored")
        real_act(self, agent, action)

    async def run(self: Keeper) -> None:
        telling = asyncio.ensure_future(tell(self))
        try:
            await real_run(self)
        finally:
            telling.cancel()

    async def tell(keeper: Keeper) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for name, word in (_read(orders) or {}).items():
                agent = keeper.agents.get(name)
                if agent is None or not keeper.intake.is_adopted:
                    continue
                now = asyncio.get_running_loop().time()
                if word == "back":
                    if agent.ladder.aside:
                        keeper.healer.observe(agent, CalledBack(text="a test calls it back"), now)
                elif agent.ladder.aside != word:
                    keeper.healer.observe(agent, SetAside(why=word, text="went for a test"), now)

    patched: Any = Healer
    patched.observe, patched._act = observe, act
    patched = Keeper
    patched.run = run


if __name__ == "__main__":
    obey(Path(sys.argv[sys.argv.index("--home") + 1]))
    sys.exit(main(serve_keeper))
