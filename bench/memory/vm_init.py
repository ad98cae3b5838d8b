#!/usr/bin/python3 -S
"""The first process of the virtual machine: mounts what is needed, tries cgroup v2, tells the console, switches off."""

import ctypes
import json
import os
import struct
import subprocess
import sys
import time
import traceback

MARK = "BENCH-RESULT "
MB = 1024 * 1024
PATIENCE_S = 60.0


def tell(name: str, held: bool, **facts: object) -> None:
    print(
        MARK + json.dumps({"name": name, "held": bool(held), "uptime_s": round(time.monotonic(), 1), **facts}),
        flush=True,
    )


def mount(kind: str, place: str) -> None:
    os.makedirs(place, exist_ok=True)
    if ctypes.CDLL(None, use_errno=True).mount(kind.encode(), place.encode(), kind.encode(), 0, None):
        print(f"mount {kind}: {os.strerror(ctypes.get_errno())}", flush=True)


def until(condition) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def grown(directory: str, to_mb: int, mb_per_s: int) -> int:
    """A process that grows at once; its slot of the file says so."""
    slots = "/tmp/slots"
    with open(slots, "wb") as file:
        file.write(struct.pack("=dddQQQQ", 0.0, 0.0, 1.0, 0, 0, 0, 0).ljust(128 * 56, b"\0"))

    def enter() -> None:
        with open(f"{directory}/cgroup.procs", "w") as file:
            file.write("0")

    words = [*("/site/.dev/bench/memory-agent", "s0", slots, "0"), *("grow", "1", "2", str(to_mb), str(mb_per_s), "2")]
    return subprocess.Popen(words, preexec_fn=enter).pid


def groups_alone() -> None:
    """One agent in one group: held at its ceiling, told, let go, frozen, killed whole."""
    import select
    from pathlib import Path

    from holdfast.node import cgroups
    from holdfast.pods import groups
    from holdfast.pods.memory_attach import attach

    plan = cgroups.choose("vm")
    tell("plan", plan.kind == "v2" and "memory" in plan.v2_controllers, kind=plan.kind, why=plan.why)
    directory = plan.v2_root / "a.1"
    directory.mkdir()
    memory = attach(directory, [], None, list)
    memory.set_ceiling(12 * MB)
    poll = select.epoll()
    poll.register(memory.notify_fd, memory.notify_mask)
    pid = grown(str(directory), 40, 100)
    tell("told by memory.events", bool(poll.poll(PATIENCE_S)))
    tell("hit", until(lambda: memory.read(4 * MB).hits > 0), **memory.read()._asdict())
    before = memory.read().usage_bytes
    time.sleep(3)
    after = memory.read().usage_bytes
    tell("held at memory.high", after < 25 * MB, before_mb=before / MB, after_mb=after / MB)
    most = int(Path(directory, "memory.max").read_text())
    tell("a backstop above it", 12 * MB < most < 128 * MB, max_mb=most / MB)
    at = time.monotonic()
    memory.set_ceiling(None)
    tell("let go", until(lambda: memory.read().usage_bytes > 38 * MB), took_s=round(time.monotonic() - at, 2))
    tell(
        "no ceiling is left",
        memory.read().ceiling_bytes is None and Path(directory, "memory.high").read_text() == "max\n",
    )
    tell("no backstop is left", Path(directory, "memory.max").read_text() == "max\n")
    memory.protect(32 * MB, 8 * MB)
    groups.protect_root(plan, 32 * MB, 8 * MB)
    above = [Path(plan.v2_root, name).read_text().strip() for name in ("memory.low", "memory.min")]
    tell("the group of all grants it", above == [str(32 * MB), str(8 * MB)], above=above)
    kept = [Path(directory, name).read_text().strip() for name in ("memory.low", "memory.min", "memory.oom.group")]
    tell("protected", kept == [str(32 * MB), str(8 * MB), "1"], kept=kept)
    memory.freeze()
    tell("frozen", until(lambda: "frozen 1" in Path(directory, "cgroup.events").read_text()))
    memory.page_out()
    tell("paging out without swap does no harm", memory.read().usage_bytes > 38 * MB)
    os.kill(pid, 9)
    tell("dies frozen", os.waitpid(pid, 0)[1] == 9)
    tell("pressure is told", "some avg10" in Path(directory, "memory.pressure").read_text())
    memory.release()
    os.rmdir(directory)
    tell("gone is told", not memory.read().there and not memory.set_ceiling(MB))
    memory.close()
    os.rmdir(plan.v2_root)


def scenario(name: str, keeper: str) -> None:
    from pathlib import Path

    from bench.memory import run

    result = run.once(name, keeper, Path(f"/tmp/{name}-{keeper}"))
    held = not result.get("failed") and not result["lost"] and not result["kernel_kills"]
    held = held and result["in_order"] and result["all_back"] and result["clean"]
    if result.get("failed"):
        logs = sorted(Path(f"/tmp/{name}-{keeper}/home/log").glob("*.log"))
        result["log"] = "".join(each.read_text()[-1500:] for each in logs)
    tell(f"{name}, {keeper}", held, **result)


def main() -> None:
    for kind, place in (
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("cgroup2", "/sys/fs/cgroup"),
    ):
        mount(kind, place)
    os.makedirs("/dev/shm", exist_ok=True)
    sys.path.insert(0, "/site")
    os.environ.update(PYTHONPATH="/site", PATH="/usr/bin:/bin", HOME="/tmp")
    os.chdir("/site")
    sys.executable = "/usr/bin/python3"
    try:
        groups_alone()
        from bench import processes

        processes.become_subreaper()
        for keeper in ("holdfast", "holdfast-killed"):
            scenario("small", keeper)
        tell("end", True)
    except BaseException:
        traceback.print_exc()
        tell("failed", False)


if __name__ == "__main__":
    try:
        main()
    finally:
        os.sync()
        ctypes.CDLL(None).reboot(0x4321FEDC)  # switch off
