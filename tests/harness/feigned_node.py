"""A keeper on a machine whose pressure, clocks and disks are what a file says: HOME/feigned.json, read at every look.

Run in the place of `holdfast.keeper`. `starved`: a reason, or absent, and `short_of` what; `slept_s` and `jumped_s`:
how far boot time and wall clock are ahead; `full`: the disk on which everybody lives has no room; `limits`: bounds to
shorten, at the start.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from holdfast import limits
from holdfast.api.serve import serve_keeper
from holdfast.clock import SystemClock
from holdfast.keeper.main import main
from holdfast.node import pressure, senses


def feign(path: Path) -> None:
    def now() -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return found

    real_judge, real_clocks, real_disks = pressure.judge, senses.clocks, senses.disks

    def judge(before: pressure.Pressure, reading: pressure.Reading) -> pressure.Pressure:
        why = now().get("starved")
        return real_judge(pressure.Pressure(), reading) if why is None else _pressed(why, now())

    def _pressed(why: str, told: dict[str, Any]) -> pressure.Pressure:
        return pressure.Pressure(bool(why), why, short_of=tuple(told.get("short_of", ())) if why else ())

    def clocks() -> tuple[float, float]:
        mono, boot = real_clocks()
        return mono, boot + now().get("slept_s", 0.0)

    def now_at(self: SystemClock) -> float:
        return time.time() + now().get("slept_s", 0.0) + now().get("jumped_s", 0.0)

    def disks(paths: Any) -> list[senses.Disk]:
        full = now().get("full")
        seen = [disk._replace(share=0.5, free_bytes=10**12, files_left=True) for disk in real_disks(paths)]
        return [disk._replace(share=1.0, free_bytes=0) for disk in seen] if full else seen

    pressure.judge, senses.clocks, senses.disks = judge, clocks, disks
    SystemClock.now_at = now_at
    for name, value in now().get("limits", {}).items():
        setattr(limits, name, value)


if __name__ == "__main__":
    feign(Path(sys.argv[sys.argv.index("--home") + 1]) / "feigned.json")
    sys.exit(main(serve_keeper))
