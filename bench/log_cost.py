"""CPU that the logger uses for a gigabyte of agents' output: `python -m bench.log_cost [--mb N] [--dir DIR]`.

Method: a writer prints 128-byte lines in 8 KiB writes into a FIFO as fast as it can; the logger stores them with
100 MB rotation; its user and system time are read from /proc. Prints one JSON line per run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WRITER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
block = (b"x" * 127 + b"\\n") * 64
for _ in range(int(sys.argv[2]) // len(block)):
    os.write(fd, block)
"""


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stored_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("log*") if not path.name.endswith(".idx"))


def measure(where: Path, total_bytes: int, keep_files: int) -> dict[str, object]:
    """One run in an empty directory."""
    logs = where / "logs" / "agent"
    logs.mkdir(parents=True)
    os.mkfifo(logs / "fifo")
    logger = subprocess.Popen(
        [sys.executable, "-m", "holdfast.logs", "--home", str(where), "--files", str(keep_files)],
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (logs / "state.json").exists():
            time.sleep(0.02)
        before, began = cpu_s(logger.pid), time.monotonic()
        writer = subprocess.run([sys.executable, "-c", WRITER, str(logs / "fifo"), str(total_bytes)], check=True)
        took = time.monotonic() - began
        used = cpu_s(logger.pid) - before
        logger.send_signal(signal.SIGTERM)
        logger.wait(30)
        return {
            "cpu_s_per_gb": round(used / (total_bytes / 1e9), 3),
            "mb_per_s": round(total_bytes / 1e6 / took, 1),
            "written_bytes": total_bytes // 8192 * 8192,
            "stored_bytes": stored_bytes(logs),
            "writer_exit": writer.returncode,
            "load": round(os.getloadavg()[0], 1),
        }
    finally:
        if logger.poll() is None:
            logger.kill()
            logger.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=1000, help="megabytes a run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--files", type=int, default=5, help="log files kept")
    parser.add_argument("--dir", type=Path, default=None, help="where the logs go (default: a temporary directory)")
    options = parser.parse_args()
    for _ in range(options.runs):
        where = Path(tempfile.mkdtemp(prefix="log-cost-", dir=options.dir))
        try:
            print(json.dumps(measure(where, options.mb * 1_000_000, options.files)), flush=True)
        finally:
            shutil.rmtree(where)


if __name__ == "__main__":
    main()
