"""A real container under a real podman: killed, it is back once; stopped, it hears the signal; its tree is ours."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.init import procfs
from holdfast.logs import read as logs
from holdfast.recipes.container import ENTRYPOINT
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

IMAGE = "localhost/holdfast-test:1"
# Where cgroup v2 lies beside v1 without controllers, crun refuses to work unless it does not see it.
PODMAN = """#!/bin/sh
exec unshare -m sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null
exec {podman} --storage-driver=vfs --root {state}/root --runroot {state}/run "$@"' podman "$@"
"""
LOOP = "trap 'echo bye; exit 0' TERM; echo hello $GREETING; while :; do sleep 1; done"


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    real, shell = shutil.which("podman"), shutil.which("busybox")
    if os.geteuid() != 0 or real is None or shell is None:
        pytest.skip("needs root, podman and a static busybox: apt-get install podman crun busybox-static")
    state = tmp_path_factory.mktemp("podman")
    engine = state / "podman"
    engine.write_text(PODMAN.format(podman=real, state=state))
    engine.chmod(0o755)
    made = subprocess.run([engine, "import", "-", IMAGE], input=_image(Path(shell)), capture_output=True, check=False)
    tried = [
        engine,
        "run",
        "--rm",
        "--network=host",
        "--cgroups=disabled",
        *_ulimits(),
        IMAGE,
        "/bin/sh",
        "-c",
        "exit 0",
    ]
    if made.returncode or subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("podman cannot run a container on this machine")
    yield engine
    subprocess.run([engine, "rm", "--all", "--force"], capture_output=True, check=False)


def _ulimits() -> list[str]:
    """Podman raises these by itself, which is refused inside another container."""
    return ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]


def _image(shell: Path) -> bytes:
    """The smallest image with a shell."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        tar.add(shell, "bin/busybox")
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return whole.getvalue()


def test_a_container_is_kept_alive_like_any_agent(podman: Path) -> None:
    home = KeeperHome()
    try:
        data = {"engine": str(podman), "image": IMAGE, "options": "\n".join(_ulimits())}
        command = ["/bin/sh", "-c", LOOP]
        assert command != [ENTRYPOINT]
        spec = home.spec("box", *command, recipe="container", recipe_data=data, env={"GREETING": "you"})
        home.up(spec)
        first = home.wait_row("box", phase="healthy")["pid"]
        wait_until(lambda: _said(home).count("hello you") == 1, "its first words")
        wait_until(lambda: len(_inside()) == 1, "one container")
        os.kill(first, signal.SIGKILL)
        home.wait_row("box", pid=lambda pid: pid not in (None, first))
        wait_until(lambda: _said(home).count("hello you") == 2, "the next one's words")
        wait_until(lambda: len(_inside()) == 1, "the container of the killed engine is gone")
        home.client.post("/v1/agents/box/stop", {"wait": True})
        wait_until(lambda: "bye" in _said(home), "that it heard the signal")
        wait_until(lambda: not _inside(), "nothing of it is left")
    finally:
        home.close()


def _said(home: KeeperHome) -> list[str]:
    return [line.strip() for line in logs.tail(home.home, "box", 100)]


def _inside() -> list[int]:
    """The shells inside containers of this test; for a moment also what one of them forked and did not exec yet."""
    found = []
    for pid in procfs.pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"/bin/sh", b"-c"] and LOOP.encode() in words:
            found.append(pid)
    return found
