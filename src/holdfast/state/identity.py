"""Acting as the agent: for a while, this thread's access to files is that of the agent's user and of nobody else.

Invariant: only the calling thread changes (raw system calls; the C library would change every thread), and it is itself
again when the block ends, or the process ends: a thread with the wrong rights never goes on. With another user's
identity for files the kernel also takes away root's powers over files, so a name that the agent points elsewhere
opens nothing that the agent could not open itself. Called by whatever reads or writes below an agent's state paths.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from holdfast.state.model import Rights

# setgroups, setfsuid, setfsgid: the calls of the kernel, which are a thread's own.
_CALLS = {
    "x86_64": (116, 122, 123),
    "aarch64": (159, 151, 152),
    "riscv64": (159, 151, 152),
    "ppc64le": (81, 138, 139),
    "s390x": (206, 215, 216),
    "armv7l": (206, 215, 216),
    "i686": (206, 215, 216),
}
_ASK = 0xFFFFFFFF  # as an id: changes nothing, and tells the present one


class CannotAct(PermissionError):
    """This process may not take on that user's rights, or the kernel's calls are not known here."""


def own_rights() -> Rights:
    """Whose rights this thread's file access has now."""
    _set_groups, set_user, set_group = _calls()
    return Rights(uid=set_user(_ASK), gid=set_group(_ASK), groups=tuple(sorted(os.getgroups())))


@contextmanager
def acting_as(rights: Rights | None) -> Iterator[None]:
    """Access files as `rights` within the block, in this thread alone. None, or our own rights: nothing changes.

    Not for a generator that hands out values within the block: its caller would act as the agent too. A thread that
    is started within the block acts as the agent for all its life.
    Raises CannotAct. Blocks nest.
    """
    if rights is None:
        yield
        return
    before = own_rights()
    wanted = Rights(uid=rights.uid, gid=rights.gid, groups=tuple(sorted(rights.groups)))
    if before == wanted or (os.geteuid() != 0 and before.uid == rights.uid):
        yield
        return
    try:
        _take_on(wanted)
    except OSError as e:
        _take_back(before)
        raise CannotAct(e.errno, f"Cannot access files as user {rights.uid}: {e.strerror}") from e
    try:
        yield
    finally:
        _take_back(before)


def _take_on(rights: Rights) -> None:
    """Groups first and the user last: once the user is another, nothing can be widened by halves."""
    set_groups, set_user, set_group = _calls()
    set_groups(rights.groups)
    set_group(rights.gid)
    set_user(rights.uid)
    if set_user(_ASK) != rights.uid or set_group(_ASK) != rights.gid:
        raise PermissionError(1, "the kernel refused")


def _take_back(rights: Rights) -> None:
    try:
        set_groups, set_user, set_group = _calls()
        set_user(rights.uid)
        set_group(rights.gid)
        if os.geteuid() == 0:
            set_groups(rights.groups)
        taken = set_user(_ASK) == rights.uid and set_group(_ASK) == rights.gid
    except OSError:
        taken = False
    if not taken:  # not seen: whoever could take another user's rights can take back its own
        os._exit(70)


@cache
def _calls() -> tuple[Callable[[tuple[int, ...]], None], Callable[[int], int], Callable[[int], int]]:
    """The three calls as functions. Cached: looking them up costs more than calling them."""
    numbers = _CALLS.get(platform.machine())
    if numbers is None:
        raise CannotAct(38, f"Cannot access files as another user on {platform.machine()}")
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    groups_call, user_call, group_call = numbers

    def set_groups(groups: tuple[int, ...]) -> None:
        array = (ctypes.c_uint32 * max(1, len(groups)))(*groups)
        if syscall(ctypes.c_long(groups_call), ctypes.c_size_t(len(groups)), array) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def set_user(uid: int) -> int:
        return int(syscall(ctypes.c_long(user_call), ctypes.c_uint32(uid)))

    def set_group(gid: int) -> int:
        return int(syscall(ctypes.c_long(group_call), ctypes.c_uint32(gid)))

    return set_groups, set_user, set_group
