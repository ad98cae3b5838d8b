"""The world one agent lives in: its processes, init, the channel between init and keeper, and the keeper's shell.

What really happens is told to the checker, which knows nothing of the rules' inside. Called by campaign.py.
"""

from __future__ import annotations

from tests.simulation.faults import Plan
from tests.simulation.ground import Decide, PermitRule
from tests.simulation.setting_aside import Setting


class World(Setting):
    """One episode: a plan's faults, then calm."""

    def __init__(self, plan: Plan, decide: Decide, permit: PermitRule, trace: list[str] | None = None) -> None:
        super().__init__(plan, decide, permit, trace)
        for fault in plan.faults:
            self.at(fault.at_s, self.strike, fault)
        self.at(0.0, self.slot)

    def episode(self) -> None:
        """All faults, then calm: everything must come to rest as a person wants it, and be forgiven after a window."""
        self.run(self.last_fault + 500.0)
        self.calm()
        if self.rand() < 0.8:
            self.call_back()  # else who is aside has to stay so
        self.run(self.now + 3 * 3600.0 + 4 * self.policy.start_deadline_s)
        self.check.at_rest(self.ladder, self.alive, self.state)
        self.run(self.now + self.policy.window_s + 1.0)
        self.check.forgiven(self.ladder, self.permit(self.ladder, self.policy, self.now, 0.0))

    def calm(self) -> None:
        self.spawn_fails = self.loop_left = self.slow_left = 0
        self.guard_changed = False
        self.lossy = 0
        self.lose = None
        self.lag_s = 0.0
        self.die_at = ""
        if not self.init_up:
            self.init_returns(self.init_run)
        if not self.keeper_up:
            self.keeper_returns(self.keeper_run)
        if self.starved:
            self.unstarve()
        self.go_good(self.spell)
