"""Releases: a Holdfast in a virtual environment of its own below HOME/releases, built aside and then only read.

Invariants: a release is complete when its release.json stands in it, which is written last; nothing of a wheel is run
before it was seen to be this project; what is needed (the running release and the former) is never removed. Called by
`holdfast upgrade`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.files import write_atomic
from holdfast.node.installation import RELEASES

PROJECT = "holdfast"
MARK = "release.json"
_BUILDING = ".building"
_SIGNS = ("holdfast/init/guard.py", "holdfast/keeper/keeper.py", "holdfast/cli/starting.py")  # no other project's


def build(home: Path, source: str, version: str | None) -> str:
    """Build, or find already built, the release of `source`: a wheel, a source tree, or "" for the package index.

    The release's name. Raises UPGRADE_FAILED with the reason; what was begun is removed.
    """
    root = home / RELEASES
    try:
        root.mkdir(mode=0o755 if os.getuid() == 0 else 0o700, exist_ok=True)
        _remove(root / _BUILDING)
        if source.endswith(".whl"):
            wheel = Path(source).absolute()
        else:
            _make_environment(root / _BUILDING)
            wheel = _fetch(root / _BUILDING, source, version)
        name = inspect(wheel)
        if is_complete(root / name):
            return name
        _remove(root / name)
        if (root / _BUILDING).exists():
            wheel = Path(root / name, wheel.relative_to(root / _BUILDING))
            os.rename(root / _BUILDING, root / name)
        else:
            _make_environment(root / name)
        _run([*_pip(root / name), "install", "--quiet", str(wheel)], limits.UPGRADE_PIP_S)
        shutil.rmtree(root / name / "wheel", ignore_errors=True)
        write_atomic(root / name / MARK, json.dumps({"name": name}).encode() + b"\n", mode=0o644)
    except OSError as error:
        raise _failed(f"{root}: {error.strerror or error}") from error
    finally:
        _remove(root / _BUILDING)
    return name


def inspect(wheel: Path) -> str:
    """The release's name, VERSION-HASH, from a wheel that was seen to be this project. Raises UPGRADE_FAILED."""
    try:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()[:8]
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
            metadata = next((name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)), "")
            text = archive.read(metadata).decode("utf-8", "replace") if metadata else ""
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise _failed(f"{wheel} is no wheel: {error}") from error
    fields = dict(line.split(": ", 1) for line in text.partition("\n\n")[0].splitlines() if ": " in line)
    version = fields.get("Version", "")
    if fields.get("Name") != PROJECT or not names.issuperset(_SIGNS):
        raise _failed(f"{wheel.name} is another project of that name; nothing of it was run")
    if not re.fullmatch(r"\d[\w.+!]*", version):
        raise _failed(f"{wheel.name} has no version")
    return f"{version}-{digest}"


def is_complete(release: Path) -> bool:
    return (release / MARK).is_file()


def python(home: Path, release: str) -> str:
    """The interpreter of a release."""
    return str(home / RELEASES / release / "bin" / "python")


def services(home: Path, release: str) -> str:
    """services.json as the release's own code writes it, which proves that it starts. Raises UPGRADE_FAILED."""
    program = (
        "import sys; from pathlib import Path; from holdfast.cli.starting import services_text; "
        "from holdfast.home import Home; sys.stdout.write(services_text(Home(Path(sys.argv[1])), None).decode())"
    )
    text = _run([python(home, release), "-P", "-c", program, str(home)], limits.UPGRADE_CHECK_S)
    try:
        json.loads(text)["code"]["parent"]
    except (ValueError, KeyError, TypeError) as error:
        raise _failed(f"the new code says nothing sensible: {text[:200]!r}") from error
    return text


def check(home: Path, release: str, file: str) -> None:
    """The new code starts, and reads the fleet's file. Raises UPGRADE_FAILED with what it says."""
    own = [python(home, release), "-P", "-m", "holdfast.cli"]
    _run([*own, "--version"], limits.UPGRADE_CHECK_S)
    if file and os.path.exists(file):
        _run([*own, "check", "-f", file], limits.UPGRADE_CHECK_S)


def tidy(home: Path, keep: Sequence[str]) -> None:
    """Remove releases that neither run nor are gone back to."""
    root = home / RELEASES
    for path in root.iterdir() if root.is_dir() else ():
        if path.is_dir() and not path.is_symlink() and path.name not in keep:
            _remove(path)


def newest() -> str:
    """What the package index offers. Raises NEWEST_UNKNOWN with the reason."""
    base = getattr(sys, "_base_executable", sys.executable)
    pip = next((each for each in (sys.executable, base) if _works([each, "-m", "pip", "--version"])), "")
    if not pip:
        raise HoldfastError(errors.NEWEST_UNKNOWN, reason="there is no pip here to ask the package index with")
    command = [pip, "-m", "pip", "index", "versions", PROJECT, "--retries", "1"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limits.UPGRADE_INDEX_S, check=False,
            stdin=subprocess.DEVNULL, env=_environment(), cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        reason = f"the package index did not answer within {limits.UPGRADE_INDEX_S:g} s"
        raise HoldfastError(errors.NEWEST_UNKNOWN, reason=reason) from None
    found = newest_in(done.stdout, done.stderr)
    if not found[0]:
        raise HoldfastError(errors.NEWEST_UNKNOWN, reason=found[1])
    return found[0]


def newest_in(out: str, err: str) -> tuple[str, str]:
    """The version that `pip index versions` said, or why there is none. Pure."""
    match = re.search(rf"^{PROJECT} \(([^)]+)\)", out, re.MULTILINE)
    if match:
        return match[1], ""
    if re.search(r"Retrying|[Cc]onnection|timed out|resolve|unreachable|ProxyError|SSLError", err):
        return "", "the package index cannot be reached"
    if "No matching distribution" in err:
        return "", f"the package index knows no {PROJECT}"
    said = [line for line in err.splitlines() if line.startswith("ERROR")] or ["it answered something else"]
    return "", f"pip: {said[-1].removeprefix('ERROR: ')}"


def version_key(name: str) -> tuple[int, ...]:
    """A version, or the name of a release, for comparing. Pure."""
    return tuple(int(part) for part in re.findall(r"\d+", name.partition("-")[0]))


# --- pip -------------------------------------------------------------------------------------------------------------
def _make_environment(directory: Path) -> None:
    """With pip inside; where Python comes without ensurepip, empty, and another pip installs into it."""
    interpreter = sys.executable
    if _works([interpreter, "-I", "-c", "import ensurepip"]):
        _run([interpreter, "-I", "-m", "venv", str(directory)], limits.UPGRADE_PIP_S)
    else:
        _run([interpreter, "-I", "-m", "venv", "--without-pip", str(directory)], limits.UPGRADE_PIP_S)


def _pip(environment: Path) -> list[str]:
    """How pip acts inside the environment; the index is the one of pip's own configuration."""
    inside = str(environment / "bin" / "python")
    if _works([inside, "-I", "-m", "pip", "--version"]):
        return [inside, "-I", "-m", "pip"]
    for other in (sys.executable, getattr(sys, "_base_executable", "")):
        if other and _works([other, "-I", "-m", "pip", "--version"]):
            return [other, "-I", "-m", "pip", "--python", inside]
    raise _failed("neither ensurepip nor pip is here; on Debian or Ubuntu: apt-get install python3-venv")


def _fetch(environment: Path, source: str, version: str | None) -> Path:
    """One wheel, without what it depends on."""
    into = environment / "wheel"
    if source:
        _run([*_pip(environment), "wheel", "--quiet", "--no-deps", "-w", str(into), source], limits.UPGRADE_PIP_S)
    else:
        wanted = f"{PROJECT}=={version}" if version else PROJECT
        only = ("--no-deps", "--only-binary=:all:", "--retries", "1")
        _run([*_pip(environment), "download", "--quiet", *only, "-d", str(into), wanted], limits.UPGRADE_PIP_S)
    found = sorted(into.glob("*.whl"))
    if len(found) != 1:
        raise _failed(f"pip made {len(found)} wheels of {source or PROJECT}")
    return found[0]


def _run(command: Sequence[str], timeout_s: float) -> str:
    """Standard output. Raises UPGRADE_FAILED with the last line the program said."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False, umask=0o022,
            stdin=subprocess.DEVNULL, env=_environment(), cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _failed(f"{_words(command)} took longer than {timeout_s:g} s") from error
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors_said = [line for line in said if line.startswith("ERROR")] or said or [f"exit code {done.returncode}"]
        raise _failed(f"{_words(command)}: {errors_said[-1].removeprefix('ERROR: ')}")
    return done.stdout


def _works(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=limits.UPGRADE_CHECK_S, check=False, stdin=subprocess.DEVNULL,
            env=_environment(), cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _environment() -> dict[str, str]:
    """Ours without what would show the new code the old one; pip's own settings pass."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def _words(command: Sequence[str]) -> str:
    named = [word for word in command[1:] if not word.startswith("-") and "/" not in word and " " not in word]
    return " ".join(named[:3]) or os.path.basename(command[0])


def _remove(path: Path) -> None:
    """The mark first, so that a half-removed release is never taken for a whole one."""
    (path / MARK).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _failed(reason: str) -> HoldfastError:
    return HoldfastError(errors.UPGRADE_FAILED, release="the newer version", reason=reason, former="the present one")
