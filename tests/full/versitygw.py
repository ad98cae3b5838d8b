"""versitygw, a real S3 server over a directory, built from its source by Go's module proxy and kept in a cache.

Invariants: a second call finds the program and downloads nothing; a build broken off leaves no program. The version is
pinned, so that a failure is ours. Called by test_real_s3.py.

The cache is $HOLDFAST_DEV_CACHE/servers, else .dev/servers of the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.ports import free_port
from tests.harness.s3_server import KEY, SECRET, S3Server

MODULE = "github.com/versity/versitygw/cmd/versitygw"
VERSION = "v1.8.0"
BUILD_TIMEOUT_S = 1200
CHECKOUT = Path(__file__).resolve().parents[2]


class NotBuilt(Exception):
    """Go is missing, too old, or cannot reach the module proxy; str() is its last line."""


def program() -> Path:
    """Build it if need be. Raises NotBuilt."""
    cache = Path(os.environ.get("HOLDFAST_DEV_CACHE") or CHECKOUT / ".dev") / "servers"
    found = cache / f"versitygw-{VERSION}" / "versitygw"
    if found.exists():
        return found
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if go is None:
        raise NotBuilt("there is no Go here")
    building = cache / "building"
    env = {
        **os.environ,
        "GOBIN": str(building),
        "GOMODCACHE": str(cache / "modules"),
        "GOCACHE": str(cache / "objects"),
        "GOFLAGS": "-modcacherw",
        "CGO_ENABLED": "0",
    }
    building.mkdir(parents=True, exist_ok=True)
    command = ["nice", go, "install", f"{MODULE}@{VERSION}"]
    try:
        built = subprocess.run(command, env=env, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(str(error)) from error
    if built.returncode != 0:
        raise NotBuilt((built.stderr.strip().splitlines() or ["go install failed"])[-1])
    for rest in ("modules", "objects"):  # a gigabyte that is not needed again
        shutil.rmtree(cache / rest, ignore_errors=True)
    os.rename(building, found.parent)
    return found


@contextmanager
def serving(folder: Path) -> Iterator[S3Server]:
    """A server whose buckets lie in `folder`. Raises NotBuilt."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(program()), "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(folder)]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    server = S3Server(port, command, env)
    server.start()
    try:
        yield server
    finally:
        server.kill()
