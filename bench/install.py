"""Finding the peers, and installing them on demand into `.dev/bench` of the checkout.

runit and s6 come from Debian packages (s6-svscan has /usr/bin/s6-supervise compiled in, so it cannot live elsewhere):
installed by apt when root, else skipped with the line to run. supervisor and circus go into a virtual environment, pm2
into a node_modules, both inside `.dev/bench`. Without permission to install, a missing peer is skipped with the reason.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from bench import processes

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".dev" / "bench"
VERSIONS = {"supervisor": "4.3.0", "circus": "0.19.0", "pm2": "7.0.4"}
INSTALL_TIMEOUT_S = 240.0


class Unavailable(Exception):
    """A peer cannot be measured here; the text is the reason, fit to stand in the results."""


may_install = True  # cleared by --quick: it measures with what is there


def debian_version(package: str, program: str) -> str:
    """Version of a Debian package that must offer `program` on PATH."""
    if not shutil.which(program):
        line = f"apt-get install {package}"
        if not may_install:
            raise Unavailable(f"not installed ({line})")
        if os.getuid() != 0 or not shutil.which("apt-get"):
            raise Unavailable(f"not installed, and only root with apt can: {line}")
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        _run(["apt-get", "install", "-y", "--no-install-recommends", package], package, environment)
    if not shutil.which("dpkg-query"):
        return "unknown"
    return _run(["dpkg-query", "-W", "-f", "${Version}", package], package).strip() or "unknown"


def python_tool(package: str, program: str) -> tuple[Path, str]:
    """Path of a program from PyPI and its version."""
    version = VERSIONS[package]
    place = TOOLS / "python"
    marker = place / f"{package}-{version}"
    if not marker.exists():
        _need_permission(package)
        if not (place / "bin/python").exists():
            _run([sys.executable, "-m", "venv", place], package)
        python = place / "bin/python"
        _run([python, "-m", "pip", "install", "--quiet", f"{package}=={version}", "setuptools<81"], package)
        marker.touch()
    return place / "bin" / program, version


def node_tool(package: str) -> tuple[Path, str]:
    """Path of a program from npm and its version, with Node's."""
    node = shutil.which("node")
    if not node:
        raise Unavailable("Node.js is not installed (apt-get install nodejs npm)")
    version = VERSIONS[package]
    place = TOOLS / "node"
    program = place / "node_modules/.bin" / package
    if not program.exists():
        _need_permission(package)
        place.mkdir(parents=True, exist_ok=True)
        _run(["npm", "install", "--no-audit", "--no-fund", "--prefix", place, f"{package}@{version}"], package)
    return program, f"{version} (Node {_run([node, '--version'], package).strip()})"


def workload() -> tuple[tuple[str, ...], str]:
    """Command that runs the workload, and in words what it is; compiled when there is a C compiler."""
    source = ROOT / "bench/workload.c"
    program = TOOLS / "workload"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        script = ROOT / "bench/workload_fallback.py"
        return (sys.executable, "-I", "-S", str(script)), "Python (no C compiler here: slower for every peer)"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        TOOLS.mkdir(parents=True, exist_ok=True)
        try:
            processes.command([compiler, "-O2", "-static", "-o", program, source], TOOLS / "workload.log", timeout_s=60)
        except processes.CommandFailed:  # no static C library
            processes.command([compiler, "-O2", "-o", program, source], TOOLS / "workload.log", timeout_s=60)
    return (str(program),), "C program"


def _need_permission(package: str) -> None:
    if not may_install:
        raise Unavailable(f"{package} is not installed (`./dev bench` installs it)")


def _run(argv: list[str | Path], package: str, environment: dict[str, str] | None = None) -> str:
    TOOLS.mkdir(parents=True, exist_ok=True)
    try:
        return processes.command(argv, TOOLS / f"install-{package}.log", timeout_s=INSTALL_TIMEOUT_S, env=environment)
    except (OSError, processes.CommandFailed, processes.TooSlow) as error:
        raise Unavailable(f"could not be installed: {str(error)[:200]}") from error
