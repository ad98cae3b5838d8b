"""What init does with the ceilings of a lost keeper, on files as the kernel has them: v2's, and those of v1."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.init import ceilings
from holdfast.init.agent import Agent
from holdfast.init.protocol import AgentDef

MB = 1024 * 1024
NODE = 1000 * MB


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has more than any group here."""
    real = ceilings.read
    monkeypatch.setattr(ceilings, "read", lambda path: b"MemAvailable: 99999999 kB" if "/proc" in path else real(path))


def write(directory: Path, **files: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (directory / f"memory.{name}").write_text(f"{value}\n")
    return directory


def said(directory: Path, name: str) -> str:
    return (directory / f"memory.{name}").read_text().strip()


def agent(name: str, declared: int | None = None, **place: object) -> Agent:
    where = {word: str(value) if isinstance(value, Path) else value for word, value in place.items()}
    definition = AgentDef(argv=[name], env={}, cwd="/", fifo="", lock="", memory_bytes=declared, **where)  # type: ignore[arg-type]
    return Agent(name, definition)


def v2(base: Path, name: str, used: int, high: object, most: object = "max", declared: int | None = None) -> Agent:
    place = write(base / "node" / name, current=used * MB, high=high, max=most, stat=f"inactive_file {4 * MB}")
    return agent(name, declared, cgroup_v2=place)


def v1(base: Path, name: str, used: int, most: int, disable: int, under: int, declared: int | None = None) -> Agent:
    control = f"oom_kill_disable {disable}\nunder_oom {under}"
    place = write(base / "node" / name, usage_in_bytes=used * MB, limit_in_bytes=most * MB, oom_control=control)
    write(place, stat=f"total_inactive_file {4 * MB}")
    return agent(name, declared, cgroup_v1_late=[str(place)])


def node(base: Path, used_mb: int, cached_mb: int = 0) -> None:
    """As v2 and v1 at once."""
    stat = f"inactive_file {cached_mb * MB}\ntotal_inactive_file {cached_mb * MB}"
    write(base / "node", current=used_mb * MB, max=NODE, usage_in_bytes=used_mb * MB, limit_in_bytes=NODE, stat=stat)


@pytest.mark.parametrize(
    ("used_mb", "cached_mb", "standing", "share_mb"),
    [(700, 0, 0, 150), (700, 0, 1, 100), (700, 100, 2, 100), (1000, 0, 1, 0), (1100, 0, 1, 0)],
)
def test_each_may_take_a_share_of_what_is_left_and_the_more_stand_the_less_it_is(
    tmp_path: Path, used_mb: int, cached_mb: int, standing: int, share_mb: int
) -> None:
    node(tmp_path, used_mb, cached_mb)
    slow = [v2(tmp_path, f"slow{n}", 50, 50 * MB if n < standing else 60 * MB) for n in range(3)]
    assert ceilings.raise_all(slow) == ["slow0", "slow1", "slow2"]
    for one in slow:
        place = Path(str(one.definition.cgroup_v2))
        assert (said(place, "high"), said(place, "max")) == ("max", str((46 + share_mb) * MB))


def test_in_v1_the_limit_is_raised_and_the_kernel_may_kill_there_again(tmp_path: Path) -> None:
    node(tmp_path, 700)
    waits, calm, wide = (
        v1(tmp_path, "w", 50, 50, 1, 1),
        v1(tmp_path, "c", 20, 30, 1, 0),
        v1(tmp_path, "x", 20, 400, 1, 0),
    )
    free = v1(tmp_path, "free", 20, 1 << 43, 0, 0)
    assert ceilings.raise_all([waits, calm, wide, free]) == ["w", "c", "x"]
    found = [
        (int(said(place, "limit_in_bytes")) // MB, said(place, "oom_control"))
        for place in (Path(one.definition.cgroup_v1_late[0]) for one in (waits, calm, wide))
    ]
    assert found == [(146, "0"), (116, "0"), (400, "0")], "never lower than it was"
    assert said(tmp_path / "node" / "free", "limit_in_bytes") == str((1 << 43) * MB)


def test_a_declared_limit_is_never_passed(tmp_path: Path) -> None:
    node(tmp_path, 200)
    one, two = v2(tmp_path, "a", 50, 50 * MB, 80 * MB, 80 * MB), v1(tmp_path, "b", 50, 50, 1, 0, 90 * MB)
    ceilings.raise_all([one, two])
    assert said(tmp_path / "node" / "a", "max") == str(80 * MB)
    assert said(tmp_path / "node" / "b", "limit_in_bytes") == str(90 * MB)


def test_later_nothing_but_the_declared_limits_is_left(tmp_path: Path) -> None:
    agents = [
        v2(tmp_path, "held", 50, 60 * MB, 90 * MB),
        v2(tmp_path, "raised", 50, "max", 90 * MB),
        v2(tmp_path, "declared", 50, "max", 90 * MB, 90 * MB),
        v1(tmp_path, "v1", 50, 60, 0, 0),
        v1(tmp_path, "v1-declared", 50, 90, 0, 0, 90 * MB),
        agent("bare"),
    ]
    assert [one.name for one in agents if ceilings.lift(one)] == ["held", "raised", "v1"]
    assert [said(tmp_path / "node" / name, "max") for name in ("held", "raised", "declared")] == [
        "max",
        "max",
        str(90 * MB),
    ]
    assert said(tmp_path / "node" / "v1", "limit_in_bytes") == "-1"


def test_a_keeper_that_steers_again_finds_no_limit_where_it_holds_nobody(tmp_path: Path) -> None:
    for one in (v2(tmp_path, "held", 50, 60 * MB, 90 * MB), v2(tmp_path, "free", 50, "max", 90 * MB), agent("bare")):
        ceilings.lift_unheld(one.definition)
    assert (said(tmp_path / "node" / "held", "max"), said(tmp_path / "node" / "free", "max")) == (str(90 * MB), "max")
