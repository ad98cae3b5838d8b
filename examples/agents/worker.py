"""An agent with state: counts jobs in a file, atomically, and goes on where it was after a restart."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

# STATE names the file; else it is kept beside the agent's own temporary directory.
STATE = Path(os.environ.get("STATE", os.path.join(tempfile.gettempdir(), "worker.count")))


def load() -> int:
    try:
        return int(STATE.read_text())
    except (OSError, ValueError):
        return 0


def save(count: int) -> None:
    tmp = STATE.with_suffix(".new")
    tmp.write_text(f"{count}\n")
    os.replace(tmp, STATE)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    STATE.parent.mkdir(exist_ok=True)
    count = load()
    print(f"worker: going on at job {count} as pid {os.getpid()}", flush=True)
    while True:
        count += 1
        save(count)
        if count % 10 == 0:
            print(f"worker: job {count} done", flush=True)
        time.sleep(0.5)


main()
