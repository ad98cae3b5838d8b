"""`python -m tests.crash [--rounds N] [--seed N] [--level init|product] [--place none|v1|v2] [--bug NAME|all]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from tests.crash.bugs import BUGS, planted
from tests.crash.campaign import Broken, Campaign
from tests.crash.levels import InitLevel, Level, ProductLevel, available_places


def make_level(options: argparse.Namespace, bug: str | None) -> Level:
    if options.level == "product":
        return ProductLevel(options.place)
    return InitLevel(options.place, planted(bug)) if bug else InitLevel(options.place)


def run(options: argparse.Namespace, bug: str | None = None) -> dict[str, object]:
    """One campaign; raises Broken."""
    level = make_level(options, bug)
    campaign = Campaign(level, options.agents, options.seed, **({"settle_s": 30.0} if bug else {}))
    started = time.monotonic()
    try:
        report = campaign.run(options.rounds, progress=not bug)
        result: dict[str, object] = {
            "level": options.level,
            "place": options.place,
            "user": os.getuid(),
            "seed": options.seed,
            "rounds": report.rounds,
            "kills": dict(report.kills),
            "slowest_s": round(report.slowest_s, 3),
            "wall_s": round(time.monotonic() - started, 1),
            "doubled": 0,
            "lost": 0,
            "stuck": 0,
        }
        if options.level == "product":
            result |= check_product(campaign, level)
        return result
    finally:
        level.destroy()


def check_product(campaign: Campaign, level: Level) -> dict[str, object]:
    """Lines and ledger, once nothing is printed any more."""
    import subprocess

    from holdfast.ledger.verify import verify

    assert isinstance(level, ProductLevel)
    command = [sys.executable, "-m", "holdfast.cli", "down", "--timeout", "60"]
    subprocess.run(command, env=level.environment, capture_output=True, timeout=300, check=False)
    logs: dict[str, bytes] = {}
    for name in [*campaign.former, *campaign.names]:
        directory: Path = level.home.agent_logs(name)
        parts = sorted(directory.glob("log.[0-9]*"), key=lambda path: -int(path.suffix[1:]))
        parts = [part for part in parts if part.suffix[1:].isdigit()]
        logs[name] = b"".join(part.read_bytes() for part in [*parts, directory / "log"])
    lines = campaign.check_lines(logs)
    report = verify(level.home.ledger)
    if not report.ok:
        raise Broken(f"the ledger does not verify: {report}")
    return {"lines": lines, "lines_lost": 0, "ledger_records": report.records}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--level", choices=("init", "product"), default="product")
    parser.add_argument("--place", choices=("none", "v1", "v2"), default=available_places()[-1])
    parser.add_argument("--bug", choices=(*BUGS, "all"))
    options = parser.parse_args()
    if options.level == "init" and options.place == "v1":
        parser.error("init alone is given no v1 cgroups; use --level product")
    print(f"seed {options.seed}", flush=True)
    if options.bug is None:
        try:
            print(json.dumps(run(options)))
        except AssertionError as broken:
            print(f"FAILED: {broken}; again with --seed {options.seed}")
            return 1
        print("PASSED")
        return 0
    options.level = "init"
    missed = []
    for bug in BUGS if options.bug == "all" else [options.bug]:
        try:
            run(options, bug)
        except AssertionError as broken:
            print(f"caught {bug}: {broken}")
        else:
            missed.append(bug)
            print(f"MISSED {bug}")
    print(f"{'FAILED' if missed else 'PASSED'}: {len(BUGS) - len(missed)} planted bugs caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
