"""A home whose keeper has some of its bounds changed, so that what takes minutes can be seen in seconds."""

from __future__ import annotations

import json
import sys

from tests.harness.keeper_home import KeeperHome

_BEGIN = """
import runpy, sys
from holdfast import limits
for name, value in {bounds!r}.items():
    setattr(limits, name, value)
sys.argv[0] = "holdfast.keeper"
runpy.run_module("holdfast.keeper", run_name="__main__", alter_sys=True)
"""


class QuickHome(KeeperHome):
    """`bounds`: names of limits.py that are read when they are used, and their values."""

    def __init__(self, **bounds: float) -> None:
        super().__init__()
        services = json.loads(self.home.services.read_text())
        services["keeper"]["argv"] = [
            sys.executable, "-P", "-c", _BEGIN.format(bounds=bounds), "--home", str(self.home.path),
        ]  # fmt: skip
        self.home.services.write_text(json.dumps(services))
