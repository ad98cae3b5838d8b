"""As whom an agent runs, and whether that user can reach what it is to run.

As root an agent never runs as root by accident: the user named in the spec, else the owner of the place it already
lives in, else a system user of its own (beyond the first SYSTEM_USERS_MAX: a user number). As an ordinary user there is
only that user. Called by pods when an agent is defined. Group and password files are only changed by the system's own
`useradd`.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from holdfast import errors, limits
from holdfast.node import numeric_ids

CREATE_ENV = "HOLDFAST_USERS"  # system (default): useradd; numeric: never touch the system's user database
_NOLOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")
_PREFIX = "hf-"


class Identity(NamedTuple):
    """A resolved user. `home` is "" for a user without a place of its own. `why` is one clause for doctor."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str
    shell: str
    why: str


def resolve(agent: str, wanted: str | None, places: Sequence[Path], home: Path) -> Identity:
    """The user for an agent. `places`: its existing directories, most telling first; `home`: Holdfast's home.

    As root this may create a system user. Raises HoldfastError USER_UNAVAILABLE.
    """
    if os.geteuid() != 0:
        return _only_oneself(agent, wanted)
    if wanted is not None:
        return _named(agent, wanted, "named in `user:`")
    owner = owner_of(places)
    if owner is not None:
        path, status = owner
        return _of_ids(status.st_uid, status.st_gid, f"owner of {path}")
    return _own(agent, home)


def owner_of(places: Sequence[Path]) -> tuple[Path, os.stat_result] | None:
    """The first place that exists and does not belong to root."""
    for place in places:
        try:
            status = os.stat(place)
        except OSError:
            continue
        if status.st_uid != 0:
            return place, status
    return None


def system_name(agent: str) -> str:
    """Name of an agent's own system user: at most 31 characters, hashed when it would be longer."""
    name = _PREFIX + agent
    if len(name) <= limits.USER_NAME_MAX:
        return name
    digest = hashlib.sha256(agent.encode()).hexdigest()[:8]
    return f"{name[: limits.USER_NAME_MAX - 9]}-{digest}"


def _only_oneself(agent: str, wanted: str | None) -> Identity:
    me = _of_ids(os.geteuid(), os.getegid(), "Holdfast itself runs as this user")
    if wanted is not None and wanted not in (me.name, str(me.uid)):
        raise _unavailable(agent, wanted, "only root can start processes of another user")
    return me._replace(groups=tuple(os.getgroups()))


def _named(agent: str, wanted: str, why: str) -> Identity:
    """NAME, NAME:GROUP, UID or UID:GID."""
    user, _, group = wanted.partition(":")
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        if not user.isdecimal() or int(user) >= 2**32 - 1:
            raise _unavailable(agent, user, "there is no such user") from None
        entry = None
    found = _of_entry(entry, why) if entry else _of_ids(int(user), int(user), why)
    if not group:
        return found
    try:
        gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise _unavailable(agent, wanted, f"there is no group {group}") from None
    return found._replace(gid=gid, groups=tuple(dict.fromkeys((gid, *found.groups))))


def _of_ids(uid: int, gid: int, why: str) -> Identity:
    try:
        return _of_entry(pwd.getpwuid(uid), why)
    except KeyError:
        return Identity(uid, gid, (gid,), str(uid), "", "/bin/sh", why)


def _of_entry(entry: pwd.struct_passwd, why: str) -> Identity:
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Identity(entry.pw_uid, entry.pw_gid, groups, entry.pw_name, entry.pw_dir, entry.pw_shell or "/bin/sh", why)


def _own(agent: str, home: Path) -> Identity:
    """A system user for this agent alone; without one, a number of its own that stays with it."""
    name = system_name(agent)
    try:
        return _of_entry(pwd.getpwnam(name), "a system user of its own")._replace(home="")
    except KeyError:
        pass
    try:
        by_name = os.environ.get(CREATE_ENV) != "numeric" and not numeric_ids.known(home, agent)
        if by_name and _own_users() < limits.SYSTEM_USERS_MAX and _create(name):
            return _of_entry(pwd.getpwnam(name), "a system user of its own")._replace(home="")
        uid = numeric_ids.take(home, agent)
    except (OSError, ValueError) as error:
        raise _unavailable(agent, name, str(error)) from error
    return Identity(uid, uid, (uid,), name, "", "/bin/sh", "a user number of its own")


def _own_users() -> int:
    """How many system users agents have already, of any home: a system has less than a thousand numbers for all."""
    return sum(entry.pw_name.startswith(_PREFIX) for entry in pwd.getpwall())


def _create(name: str) -> bool:
    """useradd; False when it is not there, refuses, or the user database cannot be written."""
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return False
    shell = next((each for each in _NOLOGIN if os.path.exists(each)), "/bin/false")
    command = [program, "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", shell]
    command += ["--user-group", "--comment", "Holdfast agent", name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=limits.USERADD_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return done.returncode in (0, 9)  # 9: somebody else made it meanwhile


def _unavailable(agent: str, user: str, reason: str) -> errors.HoldfastError:
    return errors.HoldfastError(errors.USER_UNAVAILABLE, agent=agent, user=user, reason=reason)
