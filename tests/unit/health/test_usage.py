"""Memory readings."""

import os
import subprocess
import sys
from pathlib import Path

from holdfast.health.usage import Usage, cpu_s


def test_a_live_process_is_read_and_a_dead_one_left_out() -> None:
    usage = Usage()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert usage.watch("child", child.pid)
        assert usage.watch("self", os.getpid())
        found = usage.rss_bytes()
        assert found["self"] > 1_000_000
        assert "child" in found
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()
    assert list(usage.rss_bytes()) == ["self"]
    usage.close()
    assert usage.rss_bytes() == {}


def test_a_memory_cgroup_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("4096\n")
    usage = Usage()
    assert usage.watch("a", os.getpid(), (str(tmp_path / "absent"), str(tmp_path)))
    assert usage.rss_bytes() == {"a": 4096}
    usage.close()


def test_a_process_that_is_gone_cannot_be_watched() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    usage = Usage()
    assert not usage.watch("gone", child.pid)
    assert cpu_s(child.pid) is None


def test_cpu_is_summed_over_the_pod_when_there_is_one(tmp_path: Path) -> None:
    own = cpu_s(os.getpid(), str(tmp_path / "absent"))
    assert own is not None
    assert own > 0
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n{os.getpid()}\n")
    both = cpu_s(0, str(tmp_path))
    assert both is not None
    assert both >= 2 * own
