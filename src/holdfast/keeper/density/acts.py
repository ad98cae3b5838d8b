"""Carries out what the semaphore decided: ceilings and freezing at once, everything else begun and never waited for.

Invariants: an agent that goes for another's memory is in the ledger before it is stopped or killed, with who needed it,
how much both had and why; it is a planned stop for its ladder; every act may come twice. Called by the loop with the
actions of one decision, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from holdfast.density import model
from holdfast.density.model import Shed
from holdfast.evidence.model import Bundle
from holdfast.healing.model import CalledBack, SetAside, Starved
from holdfast.incidents import stuck
from holdfast.keeper.acting.hands import InitHands
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.agent import Agent
from holdfast.keeper.density.asking import Asking
from holdfast.keeper.density.groups import AgentGroups
from holdfast.keeper.density.page_outs import PageOuts
from holdfast.keeper.density.readings import Sleepers
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.telling.collecting import Collecting
from holdfast.sizes import size

RELIEVED_S = 5.0  # who waits again within this was not relieved: one at the edge would fill the ledger with it
_RATE_TOLD_BYTES_S = 1_000_000  # slower growth is not worth a clause


class Acts:
    """See the module."""

    def __init__(
        self,
        agents: dict[str, Agent],
        healer: Healer,
        hands: InitHands,
        groups: AgentGroups,
        recorder: Recorder,
        tasks: Tasks,
        cgroups_of: Callable[[Agent], tuple[str, ...]],
    ) -> None:
        self._agents = agents
        self._healer = healer
        self._hands = hands
        self._groups = groups
        self._recorder = recorder
        self._tasks = tasks
        self.asking = Asking(recorder, tasks)
        self._looking = Collecting(cgroups_of, self._looked_into)
        self._chosen: dict[str, Shed] = {}  # to go, not yet stopped or killed
        self._paging: set[str] = set()
        self._page_outs = PageOuts()
        self._growers: Sequence[str] = ()
        self._relieved: dict[str, float] = {}  # since when they have what they need; not yet told

    def carry_out(
        self, actions: Sequence[model.Action], sleepers: Sleepers, growers: Sequence[str], now: float
    ) -> None:
        """All of one decision; `growers`: who takes most. What cannot be done now comes again with a later reading."""
        self._growers = growers
        for name in [name for name, since in self._relieved.items() if now - since >= RELIEVED_S]:
            del self._relieved[name]
            if (agent := self._agents.get(name)) is not None and agent.ladder.starved:
                down = "waits for room, and no longer at its ceiling" if agent.ladder.aside else ""
                self._healer.observe(agent, Starved(on=False), now, text=down or "has the memory it needs again")
        failed: list[Exception] = []
        for action in actions:
            agent = self._agents.get(action.victim if isinstance(action, Shed) else action.agent)
            if agent is None:
                continue
            try:
                self._one(agent, action, sleepers, now)
            except Exception as error:  # one that fails must not keep the others from being done
                failed.append(error)
        if failed:
            raise failed[0]

    def gone(self, name: str) -> None:
        self._chosen.pop(name, None)
        self._relieved.pop(name, None)
        self._looking.forget(name)

    def _one(self, agent: Agent, action: model.Action, sleepers: Sleepers, now: float) -> None:
        group = self._groups.of(agent)
        match action:
            case model.SetCeiling(bytes=ceiling):
                if group is not None:
                    group.set_ceiling(ceiling)
            case model.Protect(bytes=keep, floor_bytes=floor):
                if group is not None:
                    group.protect(keep, floor)
            case model.Freeze(until_mono=until):
                self._groups.freeze(agent, until)
            case model.Thaw():
                self._groups.thaw(agent)
            case Shed():
                self._chosen[agent.name] = action
            case model.Stop(grace_s=grace_s):
                self._groups.thaw(agent)
                self._set_aside(agent, grace_s, now)
            case model.Kill():
                self._set_aside(agent, 0.0, now)
                self._hands.kill(agent)
            case model.TakeEvidence(within_s=within_s):
                self._look_into(agent, within_s)
            case model.Starved(on=on):
                self._tell_starved(agent, on, now)
            case model.Spared():
                self._spared(agent)
            case model.ComeBack():
                self._come_back(agent, now)
            case model.PageOut():
                self._tasks.spawn(self._page_out(agent))
            case model.Ask(bytes=wanted):
                self.asking.ask(agent, wanted)
            case model.Hibernate():
                sleepers.sleep_now(agent, "memory is scarce and it is idle")

    # --- going and coming back -----------------------------------------------------------------------------------
    def _set_aside(self, agent: Agent, grace_s: float, now: float) -> None:
        """For its ladder a planned stop; the record is on stable storage before init hears of it."""
        shed = self._chosen.pop(agent.name, None)
        if shed is None:  # it is on its way: only sooner
            self._healer.observe(agent, SetAside(why="shed", text=agent.ladder.aside_text, grace_s=grace_s), now)
            return
        words = needed_by(shed, self._growers)
        self._healer.observe(
            agent,
            SetAside(why="shed", text=words, grace_s=grace_s),
            now,
            record="density.shed",
            text=f"{words}: it goes {'at once' if grace_s == 0 else f'within {grace_s:.0f} s'}, {shed_facts(shed)}",
            body={"shed": msgspec.to_builtins(shed), "grace_s": grace_s},
        )

    def _spared(self, agent: Agent) -> None:
        shed = self._chosen.pop(agent.name, None)
        body = {} if shed is None else {"shed": msgspec.to_builtins(shed)}
        self._recorder.record("density.spared", agent.name, "was paused to be shed, and room came: it goes on", body)

    def _come_back(self, agent: Agent, now: float) -> None:
        if agent.ladder.aside == "shed":
            text = "there is room for it again"
            self._healer.observe(agent, CalledBack(text=text), now, record="density.back", text=text)

    def _tell_starved(self, agent: Agent, on: bool, now: float) -> None:
        """Its end is told when it lasts: at its ceiling an agent may go on and wait ten times in a second."""
        if not on:
            self._relieved.setdefault(agent.name, now)
            return
        self._relieved.pop(agent.name, None)
        if not agent.ladder.starved and not agent.ladder.aside:  # who goes anyway waits for nothing
            why = f"waits for memory that {self._others(agent)} use"
            self._healer.observe(agent, Starved(on=True), now, text=why)

    def is_relieved(self, name: str) -> bool:
        """Whether it has what it needs, and its ladder is still to be told."""
        return name in self._relieved

    def fell(self, agent: Agent, lease_bytes: int, now: float) -> None:
        """It died of being held: it was shed in its own way, and is no failure. Its end is still to be told."""
        self._chosen.pop(agent.name, None)
        words = f"died while it was held back, since {self._others(agent)} need the memory"
        self._healer.observe(
            agent,
            SetAside(why="shed", text=words, grace_s=0.0),
            now,
            record="density.shed",
            text=f"{words}: it comes back when there is room",
            body={"lease_bytes": lease_bytes, "died": True},
        )

    def _others(self, agent: Agent) -> str:
        """Before whom it stands back: among equals nobody is more important."""
        higher = any(one.spec.priority > agent.spec.priority and one.world.pid > 0 for one in self._agents.values())
        return "more important agents" if higher else "others"

    # --- aside ---------------------------------------------------------------------------------------------------
    def _look_into(self, agent: Agent, within_s: float) -> None:
        if agent.world.pid:
            self._tasks.spawn(self._looking.look(agent, agent.world.epoch, within_s, paused=True))

    def _looked_into(self, agent: Agent, bundle: Bundle | None, why: str) -> None:
        """What it did while it took memory, as far as that could be seen in the moment there was."""
        if bundle is None:
            return
        found = stuck.spot(bundle)
        largest = sorted(bundle.processes, key=lambda one: -one.rss_bytes)[:3]
        parts = [f"{one.name} (process {one.pid}) {size(one.rss_bytes)}" for one in largest]
        said = "held " + ", ".join(parts) if parts else "nothing of it could be seen"
        said += f"; it was in {stuck.place(found)}" if found is not None else ""
        body: dict[str, Any] = {"instance": agent.ladder.instance, "took_s": bundle.took_s}
        self._recorder.record("density.evidence", agent.name, said, body)

    async def _page_out(self, agent: Agent) -> None:
        group = self._groups.of(agent)
        if group is None or agent.name in self._paging:
            return
        self._paging.add(agent.name)
        try:
            asked = await self._page_outs.of(agent.name, group)
            if asked is None:
                return
            said = f"is idle: the kernel was asked to page {size(asked)} of it out"
            self._recorder.record("density.paged_out", agent.name, said, {"asked_bytes": asked})
        finally:
            self._paging.discard(agent.name)


def needed_by(shed: Shed, growers: Sequence[str]) -> str:
    """Why it goes, in one clause. `growers`: who took most at that moment, most first. Pure."""
    others = [name for name in growers if name != shed.victim]
    if not shed.needer:
        most = f", most by {others[0]}" if others else ", by itself" if growers else ""
        return f"went because {shed.reason}{most}"
    if shed.needer == shed.victim:
        return "went because the node has no more memory for it" + (f": {others[0]} takes most" if others else "")
    start, more = shed.reason.startswith("its start"), size(shed.short_bytes)
    what = f"whose start needs {more} more" if start else f"which needs {more} more"
    return f"went for {shed.needer} (priority {shed.needer_priority}), {what}"


def shed_facts(shed: Shed) -> str:
    """What it held at that moment, for a person. Pure."""
    said = f"holding {size(shed.usage_bytes)} of its lease of {size(shed.lease_bytes)}"
    if shed.rate_bytes_s >= _RATE_TOLD_BYTES_S:
        said += f", growing {size(shed.rate_bytes_s)}/s"
    return said
