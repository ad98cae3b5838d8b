"""Kill the logger again and again while an agent prints: `python -m tests.e2e.logger_kills --kills 200 [--seed N]`.

An agent prints numbered lines into its FIFO; the logger rotates every 200 KB and gets SIGKILL at random moments, some
of them while it still starts. Afterwards every line must be there once, whole and in order. Prints one line of JSON;
exit 1 when a line is missing, doubled or torn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.home import Home
from holdfast.logs.read import lines
from tests.unit.logs.loggers import make_home, start, stop, until

AGENT = "agent"
# The pace changes between line by line and as fast as it goes, so that kills meet full and empty pipes.
TALKER = """
import signal, sys, time
going = True
def stop(number, frame):
    global going
    going = False
signal.signal(signal.SIGTERM, stop)
number = 0
while going:
    fast = number // 20000 % 2
    print(number, "x" * (number % 61), flush=not fast)
    number += 1
    if not fast and number % 10 == 0:
        time.sleep(0.0002)
print("end", number, flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """What a campaign found; `lost`, `torn` and `disordered` must be 0."""

    kills: int
    seed: int
    lines: int
    lost: int
    torn: int
    disordered: int
    files: int

    @property
    def passed(self) -> bool:
        return self.lost == self.torn == self.disordered == 0 and self.lines > 0


def campaign(place: Path, kills: int, seed: int, planted: str = "") -> Outcome:
    """Run one in the empty directory `place`; `planted` is the code of a bug that it must catch."""
    rng = random.Random(seed)
    home = make_home(place, AGENT)
    fifo = os.open(home.agent_fifo(AGENT), os.O_RDWR)
    talker = subprocess.Popen([sys.executable, "-c", TALKER], stdout=fifo, stderr=fifo)
    os.close(fifo)
    options = ("--file-bytes", "200000", "--files", "100000")
    try:
        for _ in range(kills):
            logger = start(home, *options, planted=planted)
            assert logger.stderr is not None
            if rng.random() < 0.9:
                logger.stderr.readline()  # it reads now
                time.sleep(rng.uniform(0.0, 0.03))
            else:
                time.sleep(rng.uniform(0.0, 0.05))
            logger.kill()
            logger.wait()
            logger.stderr.close()
        logger = start(home, *options, planted=planted)
        assert logger.stderr is not None
        logger.stderr.readline()
        # On a slow machine it has not printed enough to be rotated before.
        until(_rotated(home) if planted else lambda: _files(home) > 3)
        talker.send_signal(signal.SIGTERM)
        until(lambda: talker.poll() is not None)
        stop(logger)
        logger.stderr.close()
    finally:
        talker.kill()
        talker.wait()
    return judge(home, kills, seed)


def judge(home: Home, kills: int, seed: int) -> Outcome:
    """Read the logs as a user does and count what is wrong."""
    seen = torn = disordered = 0
    expected = 0
    end = -1
    for line in lines(home, AGENT):
        seen += 1
        first, _, rest = line.partition(b" ")
        if first == b"end":
            end = int(rest)
        elif not first.isdigit() or rest != b"x" * (int(first) % 61):
            torn += 1
        else:
            disordered += int(first) < expected
            expected = int(first) + 1
    lost = end - (seen - 1 - torn) if end >= 0 else max(1, expected)
    return Outcome(kills, seed, seen, lost, torn, disordered, _files(home))


def _rotated(home: Home, times: int = 3) -> Callable[[], bool]:
    """Whether the newest file was another one so often: a bug may keep there from being more than two."""
    seen: list[int] = []

    def look() -> bool:
        with contextlib.suppress(FileNotFoundError):  # in the middle of it
            inode = (home.agent_logs(AGENT) / "log").stat().st_ino
            if seen[-1:] != [inode]:
                seen.append(inode)
        return len(seen) > times

    return look


def _files(home: Home) -> int:
    return sum(path.suffix != ".idx" for path in home.agent_logs(AGENT).glob("log*"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="logger-kills-") as place:
        outcome = campaign(Path(place), options.kills, options.seed)
    print(json.dumps(asdict(outcome) | {"passed": outcome.passed}))
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    sys.exit(main())
