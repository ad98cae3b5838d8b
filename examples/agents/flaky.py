"""An agent with a fault: works for $LIVES seconds (about two minutes), then dies with exit code 17."""

from __future__ import annotations

import os
import random
import sys
import time

LIVES_S = float(os.environ.get("LIVES", "120")) * random.uniform(0.9, 1.1)


def main() -> None:
    print(f"flaky: started as pid {os.getpid()}, will fail after {LIVES_S:.0f} s", flush=True)
    ends_mono = time.monotonic() + LIVES_S
    while time.monotonic() < ends_mono:
        time.sleep(1.0)
    print("flaky: the upstream service hung up", file=sys.stderr, flush=True)
    sys.exit(17)


main()
