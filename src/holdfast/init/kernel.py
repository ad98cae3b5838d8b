"""The few system calls that Python's standard library lacks. Called by guard, init and spawner only.

Numbers and layouts are from the kernel's headers (linux/sched.h, linux/prctl.h, linux/pidfd.h).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct

SYS_CLONE3 = 435  # the same on every 64-bit architecture
CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes), since Linux 6.13
PIDFD_INFO_EXIT = 1 << 3  # exit status of a reaped process, since about 6.15

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int | bytes) -> None:
    """Raises OSError."""
    argument = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
    if _libc.prctl(ctypes.c_int(option), argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def name_process(name: str) -> None:
    """What `ps -o comm` shows; at most 15 bytes."""
    prctl(PR_SET_NAME, name.encode()[:15])


def become_subreaper() -> None:
    """Orphans below us become our children instead of PID 1's; survives exec."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal_number: int) -> None:
    prctl(PR_SET_PDEATHSIG, signal_number)


def clone_sibling(cgroup_fd: int | None) -> int:
    """fork() whose child belongs to our parent, born inside the given v2 cgroup. Returns 0 in the child.

    Only for single-threaded processes: the child skips the interpreter's after-fork hooks and must exec or _exit.
    """
    if platform.machine() not in ("x86_64", "aarch64", "riscv64", "ppc64le", "s390x"):
        raise OSError(errno.ENOSYS, "clone3 is not used on this architecture")
    flags = CLONE_PARENT | (CLONE_INTO_CGROUP if cgroup_fd is not None else 0)
    arguments = struct.pack("<11Q" if _LITTLE else ">11Q", flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, cgroup_fd or 0)
    pid = int(_libc.syscall(SYS_CLONE3, arguments, ctypes.c_size_t(len(arguments))))
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return pid


_LITTLE = struct.pack("=H", 1) == struct.pack("<H", 1)
_libc.syscall.restype = ctypes.c_long


def c_strings(strings: list[str]) -> ctypes.Array[ctypes.c_char_p]:
    """A NULL-terminated char*[] as execve takes it."""
    return (ctypes.c_char_p * (len(strings) + 1))(*map(os.fsencode, strings), None)


def execute(path: bytes, argv: ctypes.Array[ctypes.c_char_p], env: ctypes.Array[ctypes.c_char_p]) -> int:
    """execve with arguments made beforehand; returns errno when it failed.

    os.execve would convert them in the newborn, where each page that is touched has to be copied first.
    """
    _libc.execve(path, argv, env)
    return ctypes.get_errno()


def exit_status_of_reaped(pidfd: int) -> int | None:
    """Wait status of a process somebody else reaped, None where the kernel does not tell."""
    request = bytearray(struct.pack("=Q", PIDFD_INFO_EXIT) + bytes(56))
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, request)
    except OSError:
        return None
    mask, status = struct.unpack_from("=Q", request, 0)[0], struct.unpack_from("=i", request, 60)[0]
    return int(status) if mask & PIDFD_INFO_EXIT else None
