"""`python -m bench.memory.vm` (`./dev memory-vm`): memory groups and the semaphore on a real cgroup v2 controller.

A small virtual machine by software emulation: Debian's cloud kernel, and a root of its own in memory with Python,
Holdfast and the harness; nothing is installed on this machine, packages are unpacked into .dev/vm. Emulated memory
fills at 30 to 60 MB/s and a keeper takes half a minute to start, so the scenarios are small and slow. All that was seen
is in .dev/vm/result.json; what counts, each part as it was seen last, is in bench/results/memory-v2.json, from where
the suite `memory` takes it into its report. Exit: 0 all held, 1 not, 2 it cannot be done here.
"""

from __future__ import annotations

import gzip
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import machine
from bench import results as bench_results
from bench.install import ROOT, TOOLS, Unavailable
from bench.memory import run

PLACE = ROOT / ".dev" / "vm"
WHERE = "from an emulated machine, some fifty times slower than a real one: what holds, not how fast"
LONG = ("events", "agents", "load")  # of a run: only in .dev/vm/result.json
MEMORY_MB = 1536  # of which the root takes 300
FETCH_S = 600.0
VM_S = 1800.0
PACKAGES = (  # what keeper and logger import; compiled ones bring their libraries
    *("msgspec", "starlette", "uvicorn", "anyio", "h11", "click", "idna", "yaml", "_yaml", "websockets", "tzdata"),
    *("blake3", "zstandard", "cryptography", "cffi", "fastcdc"),
)
USERS = {"etc/passwd": b"root:x:0:0:root:/tmp:/bin/sh\n", "etc/group": b"root:x:0:\n"}
MARK = "BENCH-RESULT "
PARTS = {  # word: what vm_init.py runs
    "groups": "groups",
    "whole": "emulated/holdfast",
    "killed": "emulated/holdfast-killed",
    "killed-slow": "emulated-slow/holdfast-killed",
}
PART_OF = {ran.replace("/", ", "): name for name, ran in PARTS.items()}


def main() -> int:
    if unknown := [word for word in sys.argv[1:] if word not in PARTS]:
        asked = {"-h", "--help"} & set(unknown)
        print(f"usage: ./dev memory-vm [{'|'.join(PARTS)}]...; nothing: all of them", file=sys.stderr)
        return 0 if asked else 2
    parts = sys.argv[1:] or list(PARTS)
    try:
        qemu, kernel = fetch()
        run.prepare()
        image = PLACE / "root.cpio.gz"
        build(image)
    except Unavailable as reason:
        print(f"memory-vm: {reason}", file=sys.stderr)
        return 2
    revision = machine.revision(ROOT)  # of what was just packed; it may be another when the machine is done
    results = boot(qemu, kernel, image, [PARTS[part] for part in parts])
    told = {"at": machine.now(), "load": machine.load(), "revision": revision, "kernel": kernel.name}
    (PLACE / "result.json").write_text(json.dumps(told | {"seen": results}, indent=1) + "\n")
    ended = bool(results) and results[-1]["name"] == "end"
    if ended:
        keep(told, results[:-1])
    held = ended and all(one["held"] for one in results)
    print("memory-vm: " + ("all held" if held else "not all held, or it did not come to its end"))
    print(f"memory-vm: {WHERE}; everything it told is in {PLACE / 'result.json'}")
    return 0 if held else 1


def keep(told: dict[str, Any], seen: list[dict[str, Any]]) -> None:
    """Into the results, each part that was run in place of what was known of it; and RESULTS.md anew."""
    known = json.loads(run.V2_SEEN.read_text())["parts"] if run.V2_SEEN.exists() else {}
    new: dict[str, list[dict[str, Any]]] = {}
    for one in seen:
        short = {key: value for key, value in one.items() if key not in LONG}
        new.setdefault(PART_OF.get(one["name"], "groups"), []).append(short)
    parts = {name: {**told, "seen": new[name]} if name in new else known.get(name) for name in PARTS}
    kept = {"from": WHERE, "parts": {name: one for name, one in parts.items() if one}}
    run.V2_SEEN.write_text(json.dumps(kept, indent=1) + "\n")
    bench_results.write(ROOT / "bench")


def say(one: dict[str, Any]) -> str:
    """One line for who looks on."""
    shown = ("wrong", "failed", "lost", "victims", "kernel_kills", "node_full", "peak_mb", "gap_ms", "back_s", "away_s")
    facts = ", ".join(f"{key} {one[key]}" for key in shown if one.get(key) is not None and one.get(key) != [])
    return (
        f"{'held' if one['held'] else 'NOT HELD':8} {one['uptime_s']:6.1f} s  {one['name']}{': ' * bool(facts)}{facts}"
    )


# --- what is needed ----------------------------------------------------------------------------------------------
def fetch() -> tuple[list[str], Path]:
    """The emulator's command and the kernel, from Debian's packages, unpacked."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Unavailable("needs apt-get and dpkg: Debian's emulator and kernel are used")
    done = PLACE / "fetched"
    if not done.exists():
        (PLACE / "packages").mkdir(parents=True, exist_ok=True)
        simulated = _run(["apt-get", "install", "-s", "--no-install-recommends", "qemu-system-x86"])
        names = re.findall(r"^Inst (\S+)", simulated, re.MULTILINE)
        depends = _run(["apt-cache", "depends", "linux-image-cloud-amd64"])
        found = re.search(r"Depends: (linux-image-\S+)", depends)
        if found is None:
            raise Unavailable("no Debian cloud kernel is to be had")
        _run(["apt-get", "download", *names, found.group(1)])
        for package in sorted((PLACE / "packages").glob("*.deb")):
            _run(["dpkg", "-x", str(package), str(PLACE / "root")])
        done.touch()
    unpacked = PLACE / "root"
    own = unpacked / "usr/bin/qemu-system-x86_64"
    command = [str(own) if own.exists() else shutil.which("qemu-system-x86_64") or ""]
    bios = [each for each in (unpacked / "usr/share/seabios", unpacked / "usr/share/qemu") if each.exists()]
    kernels = sorted(unpacked.glob("boot/vmlinuz-*"))
    if not command[0] or not kernels:
        raise Unavailable("the emulator or the kernel is missing in Debian's packages")
    return [*command, *(word for each in bios for word in ("-L", str(each)))], kernels[-1]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=PLACE / "packages", capture_output=True, text=True, timeout=FETCH_S, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command[:3])}: {done.stderr[-300:].strip()}")
    return done.stdout


# --- the root in memory ------------------------------------------------------------------------------------------
def build(image: Path) -> None:
    """A compressed cpio of the "newc" kind, which the kernel unpacks."""
    with gzip.open(image, "wb", compresslevel=1) as out:
        for number, (name, mode, content) in enumerate(contents(), 1):
            out.write(_entry(number, name, mode, content))
        out.write(_entry(0, "TRAILER!!!", 0, b""))


def _entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)


def contents() -> Iterator[tuple[str, int, bytes]]:
    """(path, mode, content) of every file; directories before what is in them."""
    python = Path(os.path.realpath(sys.executable))
    library = Path(sysconfig.get_path("stdlib"))
    files: dict[str, Path] = {"usr/bin/python3": python, "usr/bin/unshare": Path(shutil.which("unshare") or "")}
    extensions = sorted((library / "lib-dynload").glob("*.so"))
    for each in _tree(library, ("test", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "pydoc_data")):
        files[str(each).lstrip("/")] = each
    packages = Path(sysconfig.get_path("purelib"))
    loose = [
        *packages.glob("typing_extensions.py"),
        *packages.glob("_cffi_backend*.so"),
        *packages.glob("*__mypyc*.so"),
    ]
    for each in loose:
        files[f"site/{each.name}"] = each
        extensions += [each] if each.suffix == ".so" else []
    for name in PACKAGES:
        for each in _tree(packages / name, ("tests", "testing")):
            files[f"site/{each.relative_to(packages)}"] = each
            extensions += [each] if each.suffix == ".so" else []
    for top, base in (("holdfast", ROOT / "src"), ("bench", ROOT)):
        for each in _tree(base / top, ("results",)):
            files[f"site/{each.relative_to(base)}"] = each
    files["site/.dev/bench/memory-agent"] = TOOLS / "memory-agent"
    files["usr/bin/mke2fs"] = Path(shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin") or "")
    if not files["usr/bin/mke2fs"].is_file():
        raise Unavailable("needs mke2fs (e2fsprogs)")
    files["modules/brd.ko"] = next((PLACE / "root/lib/modules").glob("*/kernel/drivers/block/brd.ko"))
    for needed in _libraries(
        [python, files["usr/bin/unshare"], files["usr/bin/mke2fs"], TOOLS / "memory-agent", *extensions]
    ):
        files[str(needed).lstrip("/")] = needed
    files["init"] = Path(__file__).with_name("vm_init.py")
    made: set[str] = set()
    for name in ("dev", "proc", "sys", "tmp", "bin", "run", "etc"):
        made.add(name)
        yield name, 0o040755, b""
    for name, content in USERS.items():
        yield name, 0o100644, content
    for name, source in sorted(files.items()):
        for above in reversed(Path(name).parents[:-1]):
            if str(above) not in made:
                made.add(str(above))
                yield str(above), 0o040755, b""
        yield name, 0o100755, source.read_bytes()
        if source.suffix == ".py" and name != "init" and (compiled := _compiled(source)) is not None:
            cache = f"{Path(name).parent}/__pycache__"
            if cache not in made:
                made.add(cache)
                yield cache, 0o040755, b""
            yield f"{cache}/{Path(name).stem}.{sys.implementation.cache_tag}.pyc", 0o100644, compiled


def _compiled(source: Path) -> bytes | None:
    """An emulated machine takes minutes to compile what a keeper imports. Never looked at again whether it is new."""
    kept = PLACE / "compiled" / str(source).lstrip("/")
    if not kept.exists() or kept.stat().st_mtime < source.stat().st_mtime:
        kept.parent.mkdir(parents=True, exist_ok=True)
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        try:
            py_compile.compile(str(source), str(kept), doraise=True, invalidation_mode=mode)
        except (py_compile.PyCompileError, OSError):
            return None
    return kept.read_bytes()


def _tree(top: Path, without: tuple[str, ...]) -> Iterator[Path]:
    for directory, names, files in os.walk(top):
        names[:] = [name for name in names if name not in (*without, "__pycache__", "site-packages", "dist-packages")]
        yield from (Path(directory, name) for name in files if name.endswith((".py", ".so", ".json")))


def _libraries(programs: list[Path]) -> set[Path]:
    """What the loader finds for them here, by the names under which it looks for them."""
    found: set[Path] = set()
    for program in programs:
        told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
        found.update(Path(path) for path in re.findall(r"(/\S+) \(0x", told))
    return found


# --- the machine -------------------------------------------------------------------------------------------------
def boot(qemu: list[str], kernel: Path, image: Path, parts: list[str]) -> list[dict[str, Any]]:
    """What the machine told on its console, also printed as it comes; the console itself is in .dev/vm/console."""
    machine_words = ["-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(MEMORY_MB), "-smp", "2"]
    machine_words += ["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"]
    words = f"console=ttyS0 quiet panic=-1 cgroup_no_v1=all psi=1 random.trust_cpu=on bench.parts={','.join(parts)}"
    command = [
        "nice",
        "-n",
        "5",
        *qemu,
        *machine_words,
        "-kernel",
        str(kernel),
        "-initrd",
        str(image),
        "-append",
        words,
    ]
    libraries = [path.parent for path in (PLACE / "root").glob("**/*.so.*")]
    environment = dict(os.environ, LD_LIBRARY_PATH=":".join(dict.fromkeys(map(str, libraries))))
    found: list[dict[str, Any]] = []
    with (
        open(PLACE / "console", "wb", buffering=0) as console,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        too_long = threading.Timer(VM_S, process.kill)
        too_long.start()
        assert process.stdout is not None
        for line in process.stdout:
            console.write(line)
            _, mark, told = line.decode(errors="replace").partition(MARK)
            if mark:
                found.append(json.loads(told))
                print(say(found[-1]), flush=True)
        too_long.cancel()
    return found


if __name__ == "__main__":
    sys.exit(main())
