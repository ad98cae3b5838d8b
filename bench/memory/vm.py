"""`python -m bench.memory.vm` (`./dev memory-vm`): memory groups and the semaphore on a real cgroup v2 controller.

A small virtual machine by software emulation: Debian's cloud kernel, and a root of its own in memory with Python,
Holdfast and the harness; nothing is installed on this machine, packages are unpacked into .dev/vm. Emulated memory
fills at 30 to 60 MB/s, so the scenario is small. What was seen is also written to .dev/vm/result.json, which the suite
`memory` takes into its results. Exit: 0 all held, 1 not, 2 it cannot be done here.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from bench import machine
from bench.install import ROOT, TOOLS, Unavailable
from bench.memory import run

PLACE = ROOT / ".dev" / "vm"
SEEN = PLACE / "result.json"
MEMORY_MB = 1536  # of which the root takes 300
FETCH_S = 600.0
VM_S = 900.0
PACKAGES = (  # what keeper and logger import; compiled ones bring their libraries
    *("msgspec", "starlette", "uvicorn", "anyio", "h11", "click", "idna", "yaml", "_yaml", "websockets", "tzdata"),
    *("blake3", "zstandard", "cryptography", "cffi", "fastcdc"),
)
USERS = {"etc/passwd": b"root:x:0:0:root:/tmp:/bin/sh\n", "etc/group": b"root:x:0:\n"}
MARK = "BENCH-RESULT "


def main() -> int:
    try:
        qemu, kernel = fetch()
        run.prepare()
        image = PLACE / "root.cpio.gz"
        build(image)
    except Unavailable as reason:
        print(f"memory-vm: {reason}", file=sys.stderr)
        return 2
    results = boot(qemu, kernel, image)
    for one in results:
        print(json.dumps(one))
    told = {"at": machine.now(), "load": machine.load(), "revision": machine.revision(ROOT), "seen": results}
    SEEN.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if results and all(one["held"] for one in results) and results[-1]["name"] == "end" else 1


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
    for needed in _libraries([python, files["usr/bin/unshare"], TOOLS / "memory-agent", *extensions]):
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
def boot(qemu: list[str], kernel: Path, image: Path) -> list[dict[str, object]]:
    """What the machine told on its console; the console itself is in .dev/vm/console."""
    command = [
        *qemu,
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-m",
        str(MEMORY_MB),
        "-smp",
        "2",
        "-nographic",
        "-no-reboot",
        "-nodefaults",
    ]
    command += ["-serial", "stdio", "-kernel", str(kernel), "-initrd", str(image)]
    command += ["-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all psi=1 random.trust_cpu=on"]
    libraries = [path.parent for path in (PLACE / "root").glob("**/*.so.*")]
    environment = dict(os.environ, LD_LIBRARY_PATH=":".join(dict.fromkeys(map(str, libraries))))
    found: list[dict[str, object]] = []
    with open(PLACE / "console", "w") as console:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
        try:
            out, _ = process.communicate(timeout=VM_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
        console.write(out.decode(errors="replace"))
    for line in out.decode(errors="replace").splitlines():
        if MARK in line:
            found.append(json.loads(line.partition(MARK)[2]))
    return found


if __name__ == "__main__":
    sys.exit(main())
