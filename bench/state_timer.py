"""`python -I -S state_timer.py REPORT COMMAND...`: run a command, write what it and its children cost, as JSON.

A process of its own, because the harness's reaper collects whatever ends there and with it what it used.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time


def main() -> int:
    report, *argv = sys.argv[1:]
    begun_mono = time.monotonic()
    pid = os.posix_spawnp(argv[0], argv, os.environ)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    took_s = time.monotonic() - begun_mono
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = {"wall_s": took_s, "cpu_s": used.ru_utime + used.ru_stime, "rss_mb": used.ru_maxrss / 1024}
    with open(report, "w") as file:
        json.dump(cost, file)
    return code


if __name__ == "__main__":
    sys.exit(main())
