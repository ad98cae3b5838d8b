"""Readers of `state`: which of the agent's files are kept in versions, what is left out, and where a second copy goes.

Invariant: as in `readers.py`. A path that holds another one of the list, or the whole file system, is refused: a
restore would exchange it twice, or exchange everything. Called by `fields.py`.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final
from urllib.parse import urlsplit

from holdfast import limits
from holdfast.spec import readers
from holdfast.spec.document import Sequence
from holdfast.spec.problems import show
from holdfast.spec.readers import REFUSED, TEXT, Cursor, either, is_off, list_of, scalar, shaped

URL_SCHEMES: Final = ("s3", "gs", "az")
_STORE = "a URL such as s3://BUCKET/PREFIX (or gs://, az://), or a directory on another disk"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
# Nobody keeps versions of these, and an exchange of them would take the machine down.
_NEVER: Final = frozenset(
    ("/", "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr", "/var")
)


@shaped(either(TEXT, list_of(TEXT, limits.STATE_PATHS_MAX)))
def state_paths(at: Cursor) -> Any:
    """One path or a list of them, none inside another."""
    if is_off(at.node):
        return ()
    if isinstance(at.node, Sequence) and len(at.node.items) > limits.STATE_PATHS_MAX:
        return at.refuse(f"at most {limits.STATE_PATHS_MAX} paths", f"{len(at.node.items)} paths")
    found = readers.paths(at)
    if found is REFUSED:
        return REFUSED
    for path in found:
        if path in _NEVER or path == os.path.expanduser("~"):
            return at.refuse("a directory of the agent's own", show(path))
    for one in found:
        for other in found:
            if one is not other and (one == other or one.startswith(other + "/")):
                return at.refuse("paths that lie beside each other", f"{show(one)} inside {show(other)}")
    return found


@shaped(either(TEXT, list_of(TEXT, limits.STATE_EXCLUDES_MAX)))
def excludes(at: Cursor) -> Any:
    """Globs as in .gitignore, relative to each path; `off`: nothing is left out."""
    if is_off(at.node):
        return ()
    found = readers.texts(at)
    if found is REFUSED:
        return REFUSED
    if len(found) > limits.STATE_EXCLUDES_MAX:
        return at.refuse(f"at most {limits.STATE_EXCLUDES_MAX} patterns", f"{len(found)} patterns")
    for glob in found:
        if not glob.strip("/"):
            return at.refuse("a pattern such as cache/ or *.tmp", show(glob))
        if glob.startswith("!"):
            return at.refuse("a pattern of what is left out", show(glob), glob[1:])
    return found


@shaped(TEXT)
def store(at: Cursor) -> Any:
    """A bucket's URL without credentials, or an absolute directory; `off`: no second place."""
    if is_off(at.node):
        return None
    value = scalar(at, _STORE, ("str",))
    if value is None:
        return REFUSED
    if "://" not in value:
        return readers.path(at)
    try:
        parts = urlsplit(value)
        plain = parts.username is None and parts.password is None and not parts.query and not parts.fragment
    except ValueError:
        return at.refuse(_STORE, "a URL that cannot be read")
    if parts.scheme not in URL_SCHEMES:
        return at.refuse(_STORE, f"a URL that begins with {show(parts.scheme)}")
    if not plain:
        # The text itself is not shown: it holds a secret.
        found = "a URL with credentials or a query in it"
        return at.refuse("a URL without credentials: they come from the environment of `holdfast up`", found)
    if not _BUCKET.fullmatch(parts.netloc) or not value.isascii() or not value.isprintable() or " " in value:
        return at.refuse(_STORE, show(value))
    return value.rstrip("/")


@shaped({"enum": ["guard", "freeze"]})
def capture(at: Cursor) -> Any:
    """guard or freeze."""
    value = scalar(at, "guard or freeze", ("str",))
    if value is None:
        return REFUSED
    return value if value in ("guard", "freeze") else at.refuse("guard or freeze", show(value))
