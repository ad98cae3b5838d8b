"""The rule: whose failure is the node's, who is held back for it, and when that is over. Pure: no I/O, no clock.

Invariants: a refused connection and a process that ends are never held back, since those heal at once and for sure.
Nobody is held back without a case that names why, every hold ends with its case, and a case ends by itself: its sign
goes, or (for a cause nobody can see) agents recover, or one agent let go after another shows that a restart helps. One
incident and at most one alert for each case, however many agents suffer. Called by keeper.node_watch and simulations.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast import limits
from holdfast.correlation.model import (
    ALONE,
    Action,
    Bad,
    Case,
    Cause,
    Close,
    Hold,
    Joined,
    LetGo,
    Open,
    Sign,
    Tell,
)

NEVER_HELD = frozenset({"refused", "foreign"})
SILENT = "starved"  # a verdict that says nothing by itself; counts only while the machine is starved
TOGETHER_KEY = "together:"


class Correlation:
    """Deterministic: the same calls give the same actions. `population`: agents that run and can be heard."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.bads: dict[str, Bad] = {}

    # --- what is heard of agents ---------------------------------------------------------------------------------
    def bad(self, agent: str, kind: str, ripe_at: int, now: float, population: int) -> list[Action]:
        """One bad word. `ripe_at`: the how many-th in a row makes its own ladder act (1: this one does)."""
        known = self.bads.get(agent)
        if known is None or known.kind != kind:
            acted = known is not None and known.acted
            known = self.bads[agent] = Bad(kind=kind, since_mono=now, last_mono=now, acted=acted)
        else:
            known.count, known.last_mono = known.count + 1, now
        known.ripe = known.count >= ripe_at
        for case in self.cases.values():
            if case.canary == agent:
                case.canary_good = False
        if kind in NEVER_HELD:
            known.acted = True
            return []
        actions: list[Action] = []
        for case in self._covering(agent, known):
            actions += self._join(case, agent, known, now)
        if not self._is_held(agent) and kind != SILENT and not known.acted:
            actions += self._together(known, now, population)
            if known.ripe and not self._is_held(agent) and not self._starved():
                known.acted = True
        return actions

    def good(self, agent: str) -> None:
        """It does well: whatever was said of it is over. Holds end with their case, which looks at this."""
        self.bads.pop(agent, None)
        for case in self.cases.values():
            if case.canary == agent:
                case.canary_good = True

    def minds(self, agent: str) -> bool:
        """Whether a good word about it would change anything."""
        return agent in self.bads or any(case.canary == agent for case in self.cases.values())

    def ended(self, agent: str) -> list[Action]:
        """Its instance is gone, or the agent is: a successor begins with a clean sheet."""
        self.bads.pop(agent, None)
        actions: list[Action] = []
        for case in self.cases.values():
            if agent in case.held:
                case.held.discard(agent)
                actions.append(LetGo(agent=agent))
        return actions

    def failed(self, agent: str, now: float) -> list[Action]:
        """It opened an incident of its own. On a full disk that is the disk's doing: the case names it too."""
        actions: list[Action] = []
        for case in self.cases.values():
            if case.cause is Cause.DISK and case.calm_mono is None and _concerns(case, agent):
                actions += _named(case, agent, now)
        return actions

    # --- what is seen of the node --------------------------------------------------------------------------------
    def look(self, signs: Iterable[Sign], now: float) -> list[Action]:
        """To be called about once a second while a case stands, and whenever signs were read."""
        actions: list[Action] = []
        present = {sign.key: sign for sign in signs}
        for key, sign in present.items():
            case = self.cases.get(key)
            if case is None:
                case = self.cases[key] = Case(
                    key=key, cause=sign.cause, why=sign.why, concerns=sign.agents, began_mono=now
                )
                actions += self._join_present(case, now)
            case.calm_mono, case.concerns = None, sign.agents
            if case.opened_mono is None:
                case.why = sign.why
            if sign.cause in ALONE and case.opened_mono is None and now - case.began_mono >= limits.NODE_CONFIRM_S:
                actions += _open(case, now)
        for case in list(self.cases.values()):
            if case.cause is Cause.TOGETHER:
                actions += self._look_together(case, now)
            elif case.key not in present:
                actions += self._fading(case, now)
            if case.opened_mono is not None and not case.alerted and case.key in self.cases:
                actions += _told(case, now)
        return actions

    def covers(self, agent: str) -> Case | None:
        """The open case that already tells a person about this agent."""
        for case in self.cases.values():
            if case.opened_mono is not None and agent in case.agents and agent != case.canary:
                return case
        return None

    def holds(self, agent: str) -> bool:
        """Whether a case other than starvation, which is felt elsewhere, holds it back."""
        return self._is_held(agent)

    @property
    def quiet(self) -> bool:
        """Nothing stands and nobody does badly: there is no need to look."""
        return not self.cases and not self.bads

    # --- seen signs ----------------------------------------------------------------------------------------------
    def _covering(self, agent: str, bad: Bad) -> list[Case]:
        """The cases that explain this bad word."""
        found = []
        for case in self.cases.values():
            if case.calm_mono is not None or not _concerns(case, agent) or bad.acted:
                continue
            if case.cause is Cause.TOGETHER:
                if case.kind == bad.kind and agent != case.canary:
                    found.append(case)
            elif bad.kind != SILENT or case.cause is Cause.STARVED:
                found.append(case)
        return found

    def _join(self, case: Case, agent: str, bad: Bad, now: float) -> list[Action]:
        actions: list[Action] = []
        if case.cause is not Cause.STARVED and not self._is_held(agent):
            actions.append(Hold(agent=agent, why=case.why))
        if case.cause is not Cause.STARVED:
            case.held.add(agent)
        if bad.ripe:
            actions += _named(case, agent, now)
        return actions

    def _join_present(self, case: Case, now: float) -> list[Action]:
        """A sign often shows a moment after what it causes."""
        actions: list[Action] = []
        for agent, bad in self.bads.items():
            recent = now - bad.since_mono <= limits.TOGETHER_WINDOW_S
            heard = bad.kind not in NEVER_HELD and (bad.kind != SILENT or case.cause is Cause.STARVED)
            if recent and heard and not bad.acted and _concerns(case, agent):
                actions += self._join(case, agent, bad, now)
        return actions

    def _fading(self, case: Case, now: float) -> list[Action]:
        """The sign is gone: let go at once, close when it stayed away."""
        if case.calm_mono is None:
            case.calm_mono = now
            actions = self._release(case)
            if case.opened_mono is None:
                del self.cases[case.key]
            return actions
        if now - case.calm_mono < limits.NODE_CALM_S:
            return []
        del self.cases[case.key]
        return [Close(key=case.key, why="its cause is gone")]

    # --- a cause nobody can see ----------------------------------------------------------------------------------
    def _together(self, seed: Bad, now: float, population: int) -> list[Action]:
        if seed.count < 2 and not seed.ripe:
            return []
        explained = {agent for case in self.cases.values() if case.cause is not Cause.TOGETHER for agent in case.held}
        alike = {
            agent: bad
            for agent, bad in self.bads.items()
            if bad.kind == seed.kind
            and agent not in explained
            and (bad.count >= 2 or bad.ripe)
            and abs(bad.since_mono - seed.since_mono) <= limits.TOGETHER_WINDOW_S
            and now - bad.last_mono <= limits.TOGETHER_FRESH_S
        }
        if len(alike) < max(limits.TOGETHER_MIN, limits.TOGETHER_SHARE * population):
            return []
        waiting = {agent: bad for agent, bad in alike.items() if not bad.acted}
        if len(waiting) < 2:
            return []
        key = f"{TOGETHER_KEY}{seed.kind}"
        case = self.cases.get(key)
        if case is None:
            why = f"{len(alike)} agents failed alike within {limits.TOGETHER_WINDOW_S:.0f} s ({seed.kind})"
            began = min(bad.since_mono for bad in waiting.values())
            case = Case(key=key, cause=Cause.TOGETHER, why=why, kind=seed.kind, began_mono=began)
            self.cases[key] = case
        actions: list[Action] = []
        for agent, bad in waiting.items():
            if agent != case.canary:
                actions += self._join(case, agent, bad, now)
                actions += _named(case, agent, now)
        return actions

    def _look_together(self, case: Case, now: float) -> list[Action]:
        still = [agent for agent in case.held if agent in self.bads]
        if case.canary_good and still and now - case.canary_mono >= limits.CANARY_GOOD_S:
            actions = self._release(case)
            del self.cases[case.key]
            return [*actions, *_closed(case, "a restart helped: the others are healed as usual")]
        if len(still) < max(1, limits.TOGETHER_OVER_SHARE * len(case.agents)):
            if case.calm_mono is None:
                case.calm_mono = now
            if now - case.calm_mono < limits.TOGETHER_CALM_S:
                return []
            actions = self._release(case, acted=False)
            del self.cases[case.key]
            return [*actions, *_closed(case, "they do well again")]
        case.calm_mono = None
        waited = now - (case.canary_mono if case.canary else case.began_mono)
        if waited < (limits.CANARY_S if case.canary else limits.TOGETHER_PATIENCE_S):
            return []
        case.canary, case.canary_mono, case.canary_good = (
            min(still),
            now,
            False,
        )  # by name: the same one whenever this is computed
        self.bads[case.canary].acted = True
        case.held.discard(case.canary)
        return [] if self._is_held(case.canary) else [LetGo(agent=case.canary)]

    # --- helpers -------------------------------------------------------------------------------------------------
    def _release(self, case: Case, *, acted: bool = True) -> list[Action]:
        """End its holds. `acted`: those who still do badly are not held for a cause unseen a second time."""
        names, case.held = sorted(case.held), set()
        for agent in names:
            if acted and agent in self.bads and case.cause is Cause.TOGETHER:
                self.bads[agent].acted = True
        return [LetGo(agent=agent) for agent in names if not self._is_held(agent)]

    def _is_held(self, agent: str) -> bool:
        return any(agent in case.held for case in self.cases.values())

    def _starved(self) -> bool:
        return any(case.cause is Cause.STARVED and case.calm_mono is None for case in self.cases.values())


def _concerns(case: Case, agent: str) -> bool:
    return case.concerns is None or agent in case.concerns


def _open(case: Case, now: float) -> list[Action]:
    case.opened_mono = now
    return [Open(key=case.key)]


def _named(case: Case, agent: str, now: float) -> list[Action]:
    """The agent suffers from it: its name is in the incident."""
    if agent in case.agents:
        return []
    actions = _open(case, now) if case.opened_mono is None else []
    case.agents[agent] = now
    return [*actions, Joined(key=case.key, agents=(agent,))]


def _closed(case: Case, why: str) -> list[Action]:
    return [] if case.opened_mono is None else [Close(key=case.key, why=why)]


def _told(case: Case, now: float) -> list[Action]:
    """Once, after NODE_ALERT_S: most causes are over by then."""
    assert case.opened_mono is not None
    if case.calm_mono is not None or now - case.opened_mono < limits.NODE_ALERT_S:
        return []
    case.alerted = True
    return [Tell(key=case.key)]
