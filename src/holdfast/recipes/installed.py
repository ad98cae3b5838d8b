"""Finds an OpenClaw or a Hermes that is installed here, so that a recipe works without being told where.

The program is looked for on PATH and then where installers put it (a service has a shorter PATH than a shell); links
and the small shell scripts of npm, pnpm and installers are followed to what they start. Invariant: reads only, never
raises, starts nothing; what is not certain is not found. Called by the recipes while a file is read.
"""

from __future__ import annotations

import glob
import os
import re
import shutil

SHIM_MAX_BYTES = 16_384  # they have some hundred; a larger file is a program
CONFIG_MAX_BYTES = 1_048_576
# Below the home of who reads the file; after PATH, first one wins.
_OWN_FOLDERS = (".local/bin", ".npm-global/bin", ".local/share/pnpm", ".local/share/pnpm/bin", ".volta/bin", "bin")
_FOLDERS = ("/usr/local/bin", "/usr/bin")
_SCRIPT = os.path.join("node_modules", "openclaw", "openclaw.mjs")
_NAMED = re.compile(r"[\"' ](?P<base>\$\{?basedir\}?/)?(?P<path>[^\"'\s$]*(?:openclaw\.mjs|/bin/hermes))(?=[\"'\s])")


def program(name: str) -> str:
    """The path under which a shell would start it, "" when there is none."""
    home = os.path.expanduser("~")
    folders = [*(os.path.join(home, one) for one in _OWN_FOLDERS), *_FOLDERS]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders)) or ""


def openclaw_script(started: str) -> str:
    """The openclaw.mjs that the program `started` runs, "" when it cannot be told."""
    real = os.path.realpath(started)
    if os.path.basename(real) == "openclaw.mjs":
        return real
    beside = os.path.join(os.path.dirname(os.path.dirname(started)), "lib", _SCRIPT)
    candidates = (_named_in(real), beside, os.path.join(os.path.dirname(started), "global", "5", _SCRIPT))
    return next((os.path.realpath(one) for one in candidates if one and os.path.isfile(one)), "")


def node_beside(started: str) -> str:
    """The Node program in the same folder: a version manager puts both there."""
    path = os.path.join(os.path.dirname(started), "node")
    return path if os.path.isfile(path) and os.access(path, os.X_OK) else ""


def hermes_environment(started: str) -> str:
    """The virtual environment whose bin/hermes the program `started` runs, "" when it cannot be told."""
    real = os.path.realpath(started)
    for path in (_named_in(real), real):
        environment = os.path.dirname(os.path.dirname(path))
        packages = os.path.join(glob.escape(environment), "lib", "python3*", "site-packages", "hermes_agent-*")
        if path == os.path.join(environment, "bin", "hermes") and os.path.isfile(path) and glob.glob(packages):
            return environment
    return ""


def folder_of_user(name: str) -> str:
    """`name` in the home of who reads the file, "" when it is not there."""
    path = os.path.join(os.path.expanduser("~"), name)
    return path if os.path.isdir(path) else ""


def text(path: str) -> str:
    """The beginning of a regular file, "" when it cannot be read."""
    if not os.path.isfile(path):  # a FIFO would keep us waiting
        return ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(CONFIG_MAX_BYTES)
    except (OSError, ValueError):
        return ""


def port(value: object) -> int | None:
    """`value` as the number of a port, None when it is none."""
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if 0 < number < 65_536 else None


def _named_in(shim: str) -> str:
    """What a small shell script starts, "" for any other file."""
    try:
        with open(shim, "rb") as file:
            head = file.read(SHIM_MAX_BYTES + 1)
    except OSError:
        return ""
    if len(head) > SHIM_MAX_BYTES or not re.match(rb"#!\s*\S*(?:/env\s+)?\S*sh\b", head):
        return ""
    for match in _NAMED.finditer(head.decode("utf-8", "replace")):
        found = os.path.normpath(
            os.path.join(os.path.dirname(shim), match["path"].lstrip("/") if match["base"] else match["path"])
        )
        if os.path.isfile(found):
            return found
    return ""
