"""One run from outside: ground, spec, namespace, result, and everything taken away again; and what has to be built.

`python -m bench.memory.run SCENARIO KEEPER` prints one result, for looking into a single case.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import install, processes
from bench.install import TOOLS, Unavailable
from bench.memory import ground, scenarios

HERE = Path(__file__).resolve().parent
V2_SEEN = install.ROOT / "bench" / "results" / "memory-v2.json"  # what the small machine of vm.py told last
RUN_S = 420.0


@dataclass(frozen=True, slots=True)
class Keeper:
    """Who keeps the node. `altered`: words for altered_keeper.py, where the keeper is not as it is."""

    name: str
    words: str
    command: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    bare: bool = False
    kill_keeper_s: float | None = None


EARLYOOM = str(TOOLS / "earlyoom/root/usr/bin/earlyoom")
KEEPERS = {
    one.name: one
    for one in (
        Keeper("kernel", "the kernel alone"),
        Keeper("earlyoom", "defaults", (EARLYOOM, "-r", "0")),
        Keeper(
            "earlyoom-tuned",
            "prefers those that grow, avoids those that matter, by name",
            (EARLYOOM, "-r", "0", "--prefer", "^s[0-9]", "--avoid", "^agent"),
        ),
        Keeper("holdfast", "all of Holdfast, in the node itself"),
        Keeper(
            "holdfast-250ms",
            "the same, but its keeper looks at memory every 250 ms and hears nothing between",
            altered=("every", "0.25"),
        ),
        Keeper("holdfast-killed", "the same, and kill -9 of its keeper 0.7 s into the spike", kill_keeper_s=0.7),
        Keeper("holdfast-bare", "the same without cgroups: own readings, SIGSTOP and SIGKILL", bare=True),
        Keeper("holdfast-weighed", "the same; what the memory part of its keeper costs is weighed", altered=("weigh",)),
        Keeper("holdfast-off", "the same, but its keeper never looks at memory", altered=("off",)),
    )
}


def prepare() -> None:
    """Compile what has to be. Raises Unavailable."""
    for source, made, words in (
        ("agent.c", "memory-agent", ["-O2", "-static"]),
        ("meminfo.c", "meminfo.so", ["-O2", "-shared", "-fPIC"]),
    ):
        _compile(HERE / source, TOOLS / made, words)
    if shutil.which("unshare") is None:
        raise Unavailable("unshare (util-linux) is not there")


def earlyoom_version() -> str:
    """Debian's package, unpacked into .dev/bench and not installed. Raises Unavailable."""
    place = TOOLS / "earlyoom"
    if not Path(EARLYOOM).exists():
        if not install.may_install or not shutil.which("apt-get") or not shutil.which("dpkg"):
            raise Unavailable("needs apt-get and dpkg, and permission to fetch Debian's package")
        place.mkdir(parents=True, exist_ok=True)
        try:
            processes.command(["apt-get", "download", "earlyoom"], place / "log", timeout_s=120, cwd=place)
            package = next(place.glob("earlyoom_*.deb"))
            processes.command(["dpkg", "-x", package, place / "root"], place / "log", timeout_s=60)
        except (OSError, StopIteration, processes.CommandFailed, processes.TooSlow) as error:
            raise Unavailable(f"could not be fetched: {str(error)[:200]}") from error
    return next((each.name.split("_")[1] for each in place.glob("earlyoom_*.deb")), "unknown")


def once(scenario: str, keeper: str, place: Path) -> dict[str, Any]:
    """Raises Unavailable when this machine cannot carry it; the result has "failed" when the run says nothing."""
    what, who = scenarios.ALL[scenario], KEEPERS[keeper]
    place.mkdir(parents=True)
    try:
        ground.fit(what.node_mb)
        made = ground.make(what.node_mb)
    except ground.Unfit as reason:
        raise Unavailable(str(reason)) from None
    try:
        spec = {
            "scenario": scenario,
            "keeper": keeper,
            "place": str(place),
            "ground": made.spec(),
            "program": str(TOOLS / "memory-agent"),
            "shim": str(TOOLS / "meminfo.so"),
            "command": who.command,
            "altered": who.altered,
            "bare": who.bare,
            "kill_keeper_s": who.kill_keeper_s,
        }
        (place / "spec").write_text(json.dumps(spec))
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command += [sys.executable, "-m", "bench.memory.stage", str(place / "spec")]
        processes.command(command, place / "stage.log", timeout_s=RUN_S, cwd=install.ROOT)
        result: dict[str, Any] = json.loads((place / "result").read_text())
    except (OSError, processes.CommandFailed, processes.TooSlow) as error:
        result = {"failed": str(error)[-600:]}
    finally:
        clean = ground.remove(made, _tidy(place / "home"))
    return result | {"clean": clean, "cgroups": made.kind}


def _tidy(home: Path) -> str:
    """The id of a home that was there; init's journals lie on tmpfs and go with it."""
    try:
        home_id = (home / "home.id").read_text().strip()
    except OSError:
        return ""
    for base in ("/dev/shm", "/run"):
        shutil.rmtree(f"{base}/holdfast-{os.getuid()}-{home_id}", ignore_errors=True)
    return home_id


def _compile(source: Path, made: Path, words: list[str]) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if made.exists() and made.stat().st_mtime >= source.stat().st_mtime:
        return
    if compiler is None:
        raise Unavailable("no C compiler here")
    made.parent.mkdir(parents=True, exist_ok=True)
    try:
        processes.command([compiler, *words, "-o", made, source], made.with_suffix(".log"), timeout_s=60)
    except processes.CommandFailed:  # no static C library
        fewer = [word for word in words if word != "-static"]
        processes.command([compiler, *fewer, "-o", made, source], made.with_suffix(".log"), timeout_s=60)


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] not in scenarios.ALL or sys.argv[2] not in KEEPERS:
        print(f"usage: {' '.join(scenarios.ALL)} with {' '.join(KEEPERS)}", file=sys.stderr)
        return 2
    processes.become_subreaper()
    prepare()
    place = Path(tempfile.mkdtemp(prefix="bench-memory-"))
    try:
        print(json.dumps(once(sys.argv[1], sys.argv[2], place / "run")))
    finally:
        print(f"left to look at: {place}", file=sys.stderr)
        processes.end_descendants()
    return 0


if __name__ == "__main__":
    sys.exit(main())
