"""A home whose keeper has some of its bounds changed, so that what takes minutes can be seen in seconds."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.harness import feigned_node
from tests.harness.keeper_home import KeeperHome


class QuickHome(KeeperHome):
    """`bounds`: names of limits that are read when they are used, and their values. The machine has no pressure."""

    def __init__(self, **bounds: float) -> None:
        super().__init__()
        self._bounds = bounds
        services = json.loads(self.home.services.read_text())
        argv = [sys.executable, "-P", str(feigned_node.__file__), "--home", str(self.home.path)]
        services["keeper"]["argv"] = argv
        self.home.services.write_text(json.dumps(services))
        self.is_like(starved="")

    def bound(self, **bounds: float) -> None:
        """Change more of them, before `up`."""
        self._bounds = self._bounds | bounds
        self.is_like(starved="")

    def is_like(self, **how: Any) -> None:
        """What the keeper feels from now on; see feigned_node."""
        trial = self.home.path / "feigned.new"
        trial.write_text(json.dumps({"limits": self._bounds, **how}))
        trial.rename(self.home.path / "feigned.json")
