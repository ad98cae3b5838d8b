"""The node's memory, and kept-open files, on directories that stand in for cgroups."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from holdfast.node.kept_file import KeptFile, number
from holdfast.node.memory import NodeMemory, droppable, parse_meminfo

MB = 1024 * 1024
MEMINFO = "MemTotal:       4096000 kB\nMemFree: 100 kB\nMemAvailable:  2048000 kB\nCached: 50 kB\nSwapFree:  1000 kB\n"


def meminfo(tmp_path: Path, text: str = MEMINFO) -> Path:
    path = tmp_path / "meminfo"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        (b"anon 5\nshmem 7\n", b"anon", 5),
        (b"anon 5\nshmem 7\n", b"shmem", 7),
        (b"anon_thp 5\n", b"anon", None),
        (b"inactive_anon 5\n", b"anon", None),
        (b"RssShmem:      12 kB\n", b"RssShmem:", 12),
        (b"anon \n", b"anon", None),
        (b"anon what\n", b"anon", None),
        (b"", b"anon", None),
        (b"last 3", b"last", 3),
    ],
)
def test_a_number_is_found_by_its_whole_key(text: bytes, key: bytes, value: int | None) -> None:
    assert number(text, key) == value


def test_a_file_is_found_again_after_its_directory_was_made_anew(tmp_path: Path) -> None:
    file = KeptFile(tmp_path / "group" / "value", os.O_RDWR)
    assert file.read() is None
    assert file.write("1") == errno.ENOENT
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "value").write_text("12\n")
    assert file.read_int() == 12
    file.close()
    shutil.rmtree(tmp_path / "group")
    assert file.read_int() is None


def test_a_file_of_a_process_is_not_found_again(tmp_path: Path) -> None:
    file = KeptFile(tmp_path / "statm", again=False)
    (tmp_path / "statm").write_text("max")
    assert file.read_int() is None
    os.close(file.fd)
    (tmp_path / "statm").write_text("5")
    assert file.read() is None


def test_the_machine_is_the_node_without_a_group(tmp_path: Path) -> None:
    node = NodeMemory(None, meminfo(tmp_path))
    assert node.read() == (4096000 * 1024, 2048000 * 1024, 1000 * 1024)
    (tmp_path / "meminfo").write_text("rubbish")
    assert node.read() == (4096000 * 1024, 2048000 * 1024, 1000 * 1024)
    node.close()


def test_an_old_kernel_names_no_available_memory() -> None:
    assert parse_meminfo(b"MemTotal: 10 kB\nMemFree: 2 kB\nCached: 3 kB\n") == (10240, 5120, 0)


@pytest.mark.parametrize("v2", [True, False])
def test_a_groups_clean_page_cache_is_available(tmp_path: Path, v2: bool) -> None:
    group = tmp_path / "node"
    group.mkdir()
    files = f"inactive_file {200 * MB}\nactive_file {100 * MB}\nfile_dirty {30 * MB}\nfile_writeback {20 * MB}\n"
    if not v2:
        names = {"file_dirty": "dirty", "file_writeback": "writeback"}
        rows = [line.split() for line in files.splitlines()]
        files = "active_file 7\n" + "".join(f"total_{names.get(key, key)} {value}\n" for key, value in rows)
    (group / "memory.stat").write_text(files)
    assert droppable(files.encode(), v2) == 250 * MB
    (group / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text(f"{1000 * MB}\n")
    (group / ("memory.current" if v2 else "memory.usage_in_bytes")).write_text(f"{900 * MB}\n")
    node = NodeMemory(group, meminfo(tmp_path))
    assert node.read() == (1000 * MB, 350 * MB, 1000 * 1024)
    (tmp_path / "meminfo").write_text(MEMINFO.replace("2048000", "100"))
    told = node.read()
    assert told is not None
    assert told.available_bytes == 100 * 1024
    shutil.rmtree(group)
    node.close()
    assert node.read() == (4096000 * 1024, 100 * 1024, 1000 * 1024)


@pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n"])
def test_a_group_without_a_limit_is_the_machine(tmp_path: Path, limit: str) -> None:
    group = tmp_path / "node"
    group.mkdir()
    for name, text in (("memory.limit_in_bytes", limit), ("memory.usage_in_bytes", "1"), ("memory.stat", "x 1\n")):
        (group / name).write_text(text)
    told = NodeMemory(group, meminfo(tmp_path)).read()
    assert told is not None
    assert told.total_bytes == 4096000 * 1024
