"""What was taken before a tree was brought into its memory group counts, and only that."""

import os
from pathlib import Path

import pytest

from holdfast.pods.memory_attach import attach
from holdfast.pods.memory_bare import MemoryBare
from holdfast.pods.memory_outside import MOST_OF_TREE_BYTES, Outside, outside
from tests.unit.pods.test_memory_kinds import MB, nobody, process, v1_memory, v2_group, write


@pytest.mark.parametrize(
    ("private_mb", "group_mb", "found_mb"),
    [
        ([], 0, 0),
        ([50], 20, 30),
        ([500], 20, 480),
        ([50], 60, 0),
        ([50, 50, 50], 60, 50),  # forks show what they inherited: one of them may hold it at most
        ([400, 400], 100, MOST_OF_TREE_BYTES // MB),
    ],
)
def test_it_is_what_the_processes_hold_beyond_their_group(private_mb: list[int], group_mb: int, found_mb: int) -> None:
    assert outside([each * MB for each in private_mb], group_mb * MB) == found_mb * MB


def test_it_only_becomes_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("holdfast.pods.memory_outside.time.monotonic", lambda: now)
    seen = Outside(lambda: [10], str(tmp_path))
    process(tmp_path, 10, 10 * MB // 4096, 0)
    assert seen.look(0) == 10 * MB
    process(tmp_path, 10, 4 * MB // 4096, 0)
    assert seen.look(0) == 10 * MB, "not weighed at every reading"
    now += 1.5
    assert seen.look(0) == 4 * MB
    process(tmp_path, 10, 90 * MB // 4096, 0)
    now += 100
    assert seen.look(0) == 4 * MB, "what came later is the group's"


def test_who_brought_nothing_along_is_weighed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = 100.0, []
    monkeypatch.setattr("holdfast.pods.memory_outside.time.monotonic", lambda: now)

    def members() -> list[int]:
        asked.append(now)
        return []

    seen = Outside(members, str(tmp_path))
    for _ in range(3):
        assert seen.look(0) == 0
        now += 100
    assert len(asked) == 1


def test_the_v1_limit_is_lower_by_what_the_group_does_not_hold(tmp_path: Path) -> None:
    memory, directory, _ = v1_memory(tmp_path)
    process(tmp_path / "proc", 10, 70 * MB // 4096, 0)
    memory._outside = Outside(lambda: [10], str(tmp_path / "proc"))
    assert memory.read().usage_bytes == 78 * MB
    assert memory.set_ceiling(94 * MB)
    assert (directory / "memory.limit_in_bytes").read_text().startswith(str(64 * MB))
    assert memory.read().ceiling_bytes == 94 * MB
    write(directory / "memory.limit_in_bytes", "9223372036854771712")
    assert memory.read().ceiling_bytes is None


def test_who_is_not_in_its_group_yet_is_weighed_by_its_processes_and_paused_by_its_tracker(tmp_path: Path) -> None:
    group = v2_group(tmp_path)
    memory = attach(group, [], None, nobody, inside=False)
    assert isinstance(memory, MemoryBare)
    (group / "cgroup.freeze").write_text("1\n")
    assert not memory.read().frozen, "a pause that is not ours"
    assert memory.freeze()
    assert memory.read().frozen
    memory.release()
    assert (group / "cgroup.freeze").read_text().startswith("0")
    memory.close()


def test_one_that_its_group_counts_as_nothing_is_weighed_by_its_processes(tmp_path: Path) -> None:
    (tmp_path / "10").mkdir()
    (tmp_path / "10" / "statm").write_text("500 130 100 1 0 50 0\n")
    seen = Outside(lambda: [10, 11], str(tmp_path))
    assert seen.weighed() == 30 * os.sysconf("SC_PAGE_SIZE")
