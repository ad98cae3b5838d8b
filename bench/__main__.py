"""`python -m bench [SUITE...] [--quick] [--json]`: measure, keep the raw samples, write RESULTS.md.

Full runs write bench/results/SUITE.json and bench/RESULTS.md. `--quick` runs restart, footprint and death small, with
the peers that are already installed, and writes only into .dev/bench. Whatever happens, no process is left behind; the
last line of standard error says how many had to be ended. Exit: 0 measured, 1 a suite failed, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import install, machine, processes, results, suites
from bench.context import Context


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Holdfast beside other supervisors.")
    parser.add_argument("suite", nargs="*", help=f"of {', '.join(suites.ALL)}; all when none is named")
    parser.add_argument("--quick", action="store_true", help="small and within two minutes; RESULTS.md is left alone")
    parser.add_argument("--rounds", type=int, help="of the state suite, instead of its own number")
    parser.add_argument("--json", action="store_true", help="print the results as JSON on standard output")
    parser.add_argument("--report", action="store_true", help="only write RESULTS.md again from the raw results")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.suite if name not in suites.ALL]
    if unknown:
        parser.error(f"unknown suite {', '.join(unknown)}; there are {', '.join(suites.ALL)}")
    if options.report:
        results.write(install.ROOT / "bench")
        return 0
    names = options.suite or list(suites.QUICK if options.quick else suites.ALL)
    return _measure(names, options.quick, options.json, options.rounds)


def _measure(names: list[str], quick: bool, as_json: bool, rounds: int | None = None) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    processes.become_subreaper()
    install.may_install = not quick
    place = install.TOOLS / "work" / str(os.getpid())
    place.mkdir(parents=True)
    failed = 0
    measured: dict[str, dict[str, Any]] = {}
    try:
        workload, words = install.workload()
        context = Context(place, workload, quick, rounds)
        if any(not getattr(suites.ALL[name], "OWN_PEERS", False) for name in names):
            context.find_peers()
        for name in names:
            context.say(f"{name}: {suites.ALL[name].TITLE}")
            try:
                measured[name] = _one_suite(context, name, words)
            except Exception:  # one suite's failure must not lose the others' results
                failed += 1
                traceback.print_exc()
    finally:
        ended, left = processes.end_descendants()
        shutil.rmtree(place, ignore_errors=True)
        print(f"bench: {ended} processes had to be ended at the end, {left} are left", file=sys.stderr)
    _publish(measured, quick, as_json)
    return 1 if failed else 0


def _one_suite(context: Context, name: str, workload_words: str) -> dict[str, Any]:
    before, begun, at = machine.load(), time.monotonic(), machine.now()
    if getattr(suites.ALL[name], "OWN_PEERS", False):
        context = replace(context, available={}, skipped={})
    figures = suites.ALL[name].run(context)
    return {
        "suite": name,
        "at": at,
        "took_s": round(time.monotonic() - begun, 1),
        "quick": context.quick,
        "revision": machine.revision(install.ROOT),
        "machine": machine.describe(),
        "load_before": before,
        "load_after": machine.load(),
        "versions": context.available,
        "skipped": context.skipped,
        "workload": workload_words,
        "figures": figures,
    }


def _publish(measured: dict[str, dict[str, Any]], quick: bool, as_json: bool) -> None:
    home = install.TOOLS / "quick" if quick else install.ROOT / "bench"
    (home / "results").mkdir(parents=True, exist_ok=True)
    for name, result in measured.items():
        (home / "results" / f"{name}.json").write_text(compact(result))
    results.write(home)
    if as_json:
        print(json.dumps(measured))
        return
    goals = [(name, goal) for name, result in measured.items() for goal in _goals(name, result)]
    for suite, goal in goals:
        verdict = {True: "reached", False: "NOT REACHED", None: "not judged"}[goal.reached]
        print(f"{suite:10} {verdict:12} {goal.figure:38} {goal.text}")
    print(f"tables: {Path(home / 'RESULTS.md')}")


def _goals(name: str, result: dict[str, Any]) -> list[Any]:
    return list(suites.ALL[name].report(result["figures"]).goals)


def compact(result: dict[str, Any]) -> str:
    """JSON with every list of numbers on one line: small enough to be read and kept."""
    text = json.dumps(result, indent=1)
    return re.sub(r"\[([-\d.,\se]+)\]", lambda found: "[" + " ".join(found.group(1).split()) + "]", text) + "\n"


if __name__ == "__main__":
    sys.exit(main())
