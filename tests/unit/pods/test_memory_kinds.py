"""Memory groups of all three kinds; plain directories stand in for cgroups and processes."""

import shutil
from pathlib import Path

import pytest

from holdfast.pods import memory_v1, memory_v2
from holdfast.pods.memory_attach import attach
from holdfast.pods.memory_bare import MemoryBare
from holdfast.pods.memory_group import LOWER_STEP_BYTES, lowered
from holdfast.pods.memory_v1 import MemoryV1
from holdfast.pods.memory_v2 import MemoryV2
from holdfast.pods.page_out import anonymous

MB = 1024 * 1024
STAT_V2 = f"anon {40 * MB}\nfile {500 * MB}\nkernel {6 * MB}\nshmem {4 * MB}\nslab_reclaimable {2 * MB}\n"
STAT_V1 = f"cache {500 * MB}\nrss 1\nshmem 2\ntotal_cache {500 * MB}\ntotal_rss {40 * MB}\ntotal_shmem {4 * MB}\n"
NO_LIMIT = "9223372036854771712"


def v2_group(root: Path) -> Path:
    group = root / "a.1"
    group.mkdir()
    events = "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n"
    texts = {
        "memory.stat": STAT_V2,
        "memory.events": events,
        "memory.current": str(60 * MB),
        "memory.high": "max\n",
        "memory.max": "max\n",
        "memory.low": "0",
        "memory.min": "0",
        "memory.oom.group": "0",
        "memory.reclaim": "",
        "cgroup.freeze": "0\n",
    }
    for name, text in texts.items():
        (group / name).write_text(text)
    return group


def v1_group(root: Path, limit: str = NO_LIMIT) -> tuple[Path, Path]:
    memory, freezer = root / "memory", root / "freezer"
    memory.mkdir()
    freezer.mkdir()
    texts = {
        "memory.stat": STAT_V1,
        "memory.kmem.usage_in_bytes": str(4 * MB),
        "memory.usage_in_bytes": str(60 * MB),
        "memory.limit_in_bytes": limit,
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
        "cgroup.event_control": "",
    }
    for name, text in texts.items():
        (memory / name).write_text(text)
    (freezer / "freezer.state").write_text("THAWED\n")
    return memory, freezer


def nobody() -> list[int]:
    return []


def write(path: Path, text: str) -> None:
    """In place, as the kernel would: whoever has it open sees it."""
    with path.open("r+") as file:
        file.truncate(0)
        file.write(text)


# --- v2 ----------------------------------------------------------------------------------------------------------
def test_v2_usage_is_what_cannot_be_dropped() -> None:
    assert memory_v2.usage(STAT_V2.encode()) == 48 * MB
    old = f"anon {40 * MB}\nkernel_stack {MB}\nslab_unreclaimable {2 * MB}\nslab_reclaimable {9 * MB}\n"
    assert memory_v2.usage(old.encode()) == 43 * MB


def test_v2_ceiling_is_memory_high_and_the_declared_limit_is_never_touched(tmp_path: Path) -> None:
    group = v2_group(tmp_path)
    memory = MemoryV2(group, 100 * MB)
    assert (group / "memory.oom.group").read_text().strip() == "1"
    assert memory.read() == (True, 48 * MB, None, 0, False, 0)
    assert memory.set_ceiling(64 * MB)
    assert memory.read().ceiling_bytes == 64 * MB
    assert (group / "memory.max").read_text() == "max\n"
    write(group / "memory.high", "max\n")
    assert memory.read().ceiling_bytes is None
    write(group / "memory.high", str(100 * MB))
    assert memory.read().ceiling_bytes is None, "at the declared limit nothing is below it"


def test_the_backstop_is_never_below_what_a_group_holds() -> None:
    for held in (10 * MB, 200 * MB, 3000 * MB):
        assert memory_v2.backstop(lowered(MB, held)) > held
    assert memory_v2.backstop(800 * MB) == 900 * MB


def test_v2_hits_of_page_cache_are_no_hits(tmp_path: Path) -> None:
    group = v2_group(tmp_path)
    memory = MemoryV2(group, None)
    write(group / "memory.high", str(64 * MB))
    write(group / "memory.events", "low 0\nhigh 7\nmax 0\noom_kill 2\n")
    assert memory.read(slack_bytes=16 * MB)[3:] == (0, False, 2)
    write(group / "memory.stat", STAT_V2.replace(f"anon {40 * MB}", f"anon {56 * MB}"))
    write(group / "memory.events", "low 0\nhigh 9\nmax 0\noom_kill 2\n")
    assert memory.read(slack_bytes=16 * MB).hits == 2
    assert memory.read(slack_bytes=16 * MB).hits == 2
    memory.close()


def test_v2_release_leaves_nothing(tmp_path: Path) -> None:
    group = v2_group(tmp_path)
    memory = MemoryV2(group, None)
    assert memory.set_ceiling(64 * MB)
    assert int((group / "memory.max").read_text()) == (64 + 48) * MB, "a backstop where nothing is declared"
    assert memory.protect(50 * MB, 10 * MB)
    assert memory.freeze()
    assert memory.read().frozen
    assert (group / "memory.low").read_text().strip() == str(50 * MB)
    memory.release()
    assert (group / "memory.high").read_text().startswith("max")
    assert (group / "memory.max").read_text().startswith("max")
    assert [(group / name).read_text()[0] for name in ("memory.low", "memory.min", "cgroup.freeze")] == ["0"] * 3


def test_a_pause_that_is_not_ours_is_not_told(tmp_path: Path) -> None:
    group = v2_group(tmp_path)
    memory = MemoryV2(group, None)
    write(group / "cgroup.freeze", "1\n")
    assert not memory.read().frozen
    assert memory.freeze()
    assert memory.read().frozen
    write(group / "cgroup.freeze", "0\n")
    assert not memory.read().frozen, "somebody freed it"


def test_v2_page_out_asks_for_all_that_is_used(tmp_path: Path) -> None:
    group = v2_group(tmp_path)
    assert MemoryV2(group, None).page_out() == 48 * MB
    assert (group / "memory.reclaim").read_text().strip() == str(48 * MB)


# --- v1 ----------------------------------------------------------------------------------------------------------
def v1_memory(root: Path, declared: int | None = None, limit: str = NO_LIMIT) -> tuple[MemoryV1, Path, Path]:
    directory, freezer = v1_group(root, limit)
    memory = attach(None, [freezer, directory], declared, nobody)
    assert isinstance(memory, MemoryV1)
    return memory, directory, freezer


def test_v1_usage_is_what_cannot_be_dropped(tmp_path: Path) -> None:
    memory, directory, _ = v1_memory(tmp_path)
    assert memory.read() == (True, 48 * MB, None, 0, False, 0)
    assert memory_v1.usage(f"total_cache 9\ntotal_rss {MB}\ntotal_mapped_file 5\n".encode()) == MB + 5
    shutil.rmtree(directory)
    memory.close()
    assert memory.read() == (False, 48 * MB, None, 0, False, 0)


def test_v1_kills_nobody_at_the_ceiling_and_tells_us(tmp_path: Path) -> None:
    memory, directory, _ = v1_memory(tmp_path, 100 * MB, str(100 * MB))
    assert memory.notify_fd is None
    assert memory.read().ceiling_bytes is None
    assert memory.set_ceiling(64 * MB)
    eventfd, _oom_fd = (directory / "cgroup.event_control").read_text().split()
    assert memory.notify_fd == int(eventfd)
    assert (directory / "memory.oom_control").read_text().startswith("1")
    write(directory / "memory.oom_control", "oom_kill_disable 1\nunder_oom 1\noom_kill 0\n")
    assert memory.read().hits == 1
    assert memory.read()[2:4] == (64 * MB, 2)
    memory.heard()
    write(directory / "memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 3\n")
    assert memory.read()[3:] == (2, False, 3), "nothing was in the eventfd"
    memory.release()
    assert (directory / "memory.limit_in_bytes").read_text().startswith(str(100 * MB))
    assert (directory / "memory.oom_control").read_text().startswith("0")


def test_v1_takes_over_the_ceiling_it_finds(tmp_path: Path) -> None:
    directory, freezer = v1_group(tmp_path, str(64 * MB))
    write(freezer / "freezer.state", "FREEZING\n")
    memory = attach(None, [freezer, directory], 100 * MB, nobody)
    assert memory.notify_fd is not None
    assert memory.read() == (True, 48 * MB, 64 * MB, 0, True, 0)
    memory.release()
    assert (freezer / "freezer.state").read_text().startswith("THAWED")
    assert memory.set_ceiling(None)
    memory.close()
    assert memory.notify_fd is None


def test_v1_without_notification_sets_no_ceiling(tmp_path: Path) -> None:
    memory, directory, _ = v1_memory(tmp_path)
    (directory / "cgroup.event_control").unlink()
    assert not memory.set_ceiling(64 * MB)
    assert (directory / "memory.limit_in_bytes").read_text() == NO_LIMIT


def test_a_ceiling_far_below_what_is_held_comes_down_in_steps(tmp_path: Path) -> None:
    memory, directory, _ = v1_memory(tmp_path)
    write(directory / "memory.usage_in_bytes", str(500 * MB))
    assert not memory.set_ceiling(64 * MB)
    assert memory.read().ceiling_bytes == 500 * MB - LOWER_STEP_BYTES
    assert lowered(64 * MB, 10 * MB) == 64 * MB


# --- none --------------------------------------------------------------------------------------------------------
def process(proc: Path, pid: int, resident: int, shared: int, shmem_kb: int = 0) -> None:
    (proc / str(pid)).mkdir(parents=True, exist_ok=True)
    (proc / str(pid) / "statm").write_text(f"99999 {resident} {shared} 1 0 1 0")
    (proc / str(pid) / "status").write_text(f"Name:\tx\nRssAnon:\t 1 kB\nRssShmem:\t {shmem_kb} kB\n")


def test_without_cgroups_the_processes_are_weighed(tmp_path: Path) -> None:
    pids = [10, 11]
    memory = MemoryBare(lambda: pids, str(tmp_path))
    process(tmp_path, 10, 5000, 2000, shmem_kb=4096)
    process(tmp_path, 11, 3000, 2000, shmem_kb=4096)
    assert memory.read() == (True, 4000 * 4096 + 4096 * 1024, None, 0, False, 0)
    assert memory.notify_fd is None
    pids.remove(11)
    process(tmp_path, 10, 9000, 5000, shmem_kb=16384)
    assert memory.read().usage_bytes == 4000 * 4096 + 16384 * 1024
    (tmp_path / "10" / "statm").write_text("0 0 0 0 0 0 0")
    assert memory.read() == (False, 4000 * 4096 + 16384 * 1024, None, 0, False, 0), "a zombie has nothing"
    assert not memory.set_ceiling(5)
    assert memory.set_ceiling(None)
    memory.release()
    memory.close()


@pytest.mark.parametrize("there", [True, False])
def test_an_agent_in_no_memory_cgroup_is_weighed_by_its_processes(tmp_path: Path, there: bool) -> None:
    group = v2_group(tmp_path)
    if not there:
        (group / "memory.high").unlink()
    kind = MemoryV2 if there else MemoryBare
    assert isinstance(attach(group, [tmp_path / "freezer"], None, nobody), kind)


def test_only_anonymous_memory_is_paged_out() -> None:
    maps = (
        "00400000-00401000 rw-p 00000000 08:01 77 /usr/bin/x\n"
        "01000000-01200000 rw-p 00000000 00:00 0 [heap]\n"
        "02000000-02001000 r--p 00000000 00:00 0\n"
        "7f0000000000-7f0000003000 rw-p 00000000 00:00 0\n"
        "7f1000000000-7f1000003000 rw-s 00000000 00:01 5 /dev/shm/y\n"
    )
    assert list(anonymous(maps)) == [(0x1000000, 0x200000), (0x7F0000000000, 0x3000)]
