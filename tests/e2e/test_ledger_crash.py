"""A process that writes the ledger is killed with SIGKILL again and again: what it called durable is there."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from holdfast.clock import SystemClock
from holdfast.ledger.chain import Ledger
from holdfast.ledger.record import Head
from holdfast.ledger.verify import verify

WRITER = """
import sys
from pathlib import Path
from holdfast.clock import SystemClock
from holdfast.ledger.chain import Ledger
ledger = Ledger.open(Path(sys.argv[1]), SystemClock(), home_id="5eed0001")
while True:
    ledger.append("plain", "agent", {"text": "x" * 700}, actor="keeper")
    added = ledger.append("intent", "agent", {"text": "y" * 300}, actor="keeper", durable=True)
    assert added.durable
    print(added.head.text, flush=True)
"""


def test_durable_records_outlive_kills_of_the_writer(tmp_path: Path) -> None:
    seed = 4711
    print(f"seed {seed}")
    rng = random.Random(seed)
    path = tmp_path / "ledger"
    known = Head(0, b"")
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(rng.randint(1, 60)):
            known = Head.parse(writer.stdout.readline().strip())
        writer.kill()
        left = writer.stdout.read().splitlines()
        writer.wait()
        writer.stdout.close()
        if left:
            known = Head.parse(left[-1])
        report = verify(path, expected=known, home_id="5eed0001")
        assert report.ok, report.problems
    with_all = Ledger.open(path, SystemClock(), home_id="5eed0001")
    assert with_all.head.seq >= known.seq > 0
    with_all.close()
