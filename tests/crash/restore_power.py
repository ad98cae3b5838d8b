"""A restore's system calls on tape, and what of them is on the disk after the power was cut at any of them.

Only this survives for certain: bytes that were synced, and names whose directory was synced (both directories, for a
move between two). Of the other names those before some moment are there, in the order in which they were made, as file
systems with a journal keep them; of other bytes any part is lost. Inodes have other numbers afterwards, so the intent's
are put in their place.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from holdfast.state.restore import intent, places, scribe

Names = list[tuple[int, str, int | None]]  # directory, name, what it leads to from now on


@dataclass
class Op:
    what: str  # new, write, cut, names, sync, sync-all, mark
    inode: int = 0
    data: bytes = b""
    offset: int = 0
    names: Names = field(default_factory=list)
    text: str = ""  # kind of a new inode, or the mark


@dataclass
class _Inode:
    kind: str
    data: bytearray = field(default_factory=bytearray)
    safe: bytes = b""
    synced: bool = True
    number: int = 0  # as it was while on tape


class Tape:
    """Records what happens below `base` while it is `on`."""

    def __init__(self, base: Path, without: tuple[str, ...] = ()) -> None:
        self.base = base
        self.ops: list[Op] = []
        self._known: dict[int, int] = {}  # inode number -> ours
        self._count = 0
        self._root = self._adopt(base, without)

    def mark(self, text: str) -> None:
        self.ops.append(Op("mark", text=text))

    def _adopt(self, path: Path, without: tuple[str, ...] = ()) -> int:
        """What is there at the beginning is on the disk."""
        seen = path.lstat()
        known = self._known.get(seen.st_ino)
        if known is not None:
            return known
        ours = self._new(seen, os.readlink(path).encode() if stat.S_ISLNK(seen.st_mode) else b"")
        if stat.S_ISREG(seen.st_mode):
            self.ops.append(Op("write", ours, path.read_bytes()))
        elif stat.S_ISDIR(seen.st_mode):
            for child in sorted(path.iterdir()):
                if child.name not in without:
                    self.ops.append(Op("names", names=[(ours, child.name, self._adopt(child))]))
        self.ops.append(Op("sync", ours))
        return ours

    def _new(self, seen: os.stat_result, data: bytes = b"") -> int:
        self._count += 1
        self._known[seen.st_ino] = self._count
        kind = {stat.S_IFDIR: "d", stat.S_IFLNK: "l"}.get(stat.S_IFMT(seen.st_mode), "f")
        self.ops.append(Op("new", self._count, data, seen.st_ino, text=kind))
        return self._count

    # --- recording -----------------------------------------------------------------------------------------------
    def _of(self, fd: int) -> int | None:
        return self._known.get(os.fstat(fd).st_ino)

    def _place(self, path: Any, dir_fd: int | None) -> tuple[int, str] | None:
        """The directory of a name and its last part; None: not below our base."""
        above, name = os.path.split(os.fsdecode(path))
        try:
            directory = os.stat(above or ".", dir_fd=dir_fd)
        except OSError:
            return None
        ours = self._known.get(directory.st_ino)
        return None if ours is None else (ours, name)

    def _created(self, path: Any, dir_fd: int | None, data: bytes = b"") -> None:
        place = self._place(path, dir_fd)
        if place is not None:
            ours = self._new(os.lstat(path, dir_fd=dir_fd), data)
            self.ops.append(Op("names", names=[(*place, ours)]))

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        real = {name: getattr(os, name) for name in _CALLS}
        rename = places._rename

        def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            is_new = bool(flags & os.O_CREAT) and not _there(path, dir_fd)
            fd: int = real["open"](path, flags, mode, dir_fd=dir_fd)
            if is_new:
                self._created(path, dir_fd)
            return fd

        def wrote(call: Callable[..., int], fd: int, offset: int | None, *arguments: Any) -> int:
            ours = self._of(fd)
            at = os.lseek(fd, 0, os.SEEK_CUR) if ours is not None and offset is None else offset or 0
            count = call(fd, *arguments)
            if ours is not None:
                data = b"".join(arguments[0]) if isinstance(arguments[0], list) else bytes(arguments[0])
                self.ops.append(Op("write", ours, data[:count], at))
            return count

        def named(call: Callable[..., None], path: Any, *more: Any, dir_fd: int | None = None, **named: Any) -> None:
            call(path, *more, dir_fd=dir_fd, **named)
            self._created(path, dir_fd)

        def gone(call: Callable[..., None], path: Any, *, dir_fd: int | None = None) -> None:
            place, number = self._place(path, dir_fd), os.lstat(path, dir_fd=dir_fd).st_ino
            last = os.lstat(path, dir_fd=dir_fd).st_nlink == 1 or call is real["rmdir"]
            call(path, dir_fd=dir_fd)
            if place is not None:
                self.ops.append(Op("names", names=[(*place, None)]))
                if last:
                    self._known.pop(number, None)  # its number may come to belong to another

        def moved(
            call: Callable[..., None],
            old: Any,
            new: Any,
            *,
            src_dir_fd: int | None = None,
            dst_dir_fd: int | None = None,
        ) -> None:
            what = self._known.get(os.lstat(old, dir_fd=src_dir_fd).st_ino)
            one, other = self._place(old, src_dir_fd), self._place(new, dst_dir_fd)
            call(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            if one is not None and other is not None:
                self.ops.append(Op("names", names=[(*other, what), (*one, None)]))

        def moved_with_flags(from_fd: int, old: bytes, to_fd: int, new: bytes, flags: int) -> None:
            one, other = self._place(old, from_fd), self._place(new, to_fd)
            first = self._known.get(os.lstat(old, dir_fd=from_fd).st_ino) if _there(old, from_fd) else None
            second = self._known.get(os.lstat(new, dir_fd=to_fd).st_ino) if _there(new, to_fd) else None
            rename(from_fd, old, to_fd, new, flags)
            if one is not None and other is not None:
                self.ops.append(Op("names", names=[(*other, first), (*one, second if flags == _EXCHANGE else None)]))

        def linked(
            old: Any, new: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None, **more: Any
        ) -> None:
            real["link"](old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **more)
            place = self._place(new, dst_dir_fd)
            if place is not None:
                what = self._known.get(os.lstat(new, dir_fd=dst_dir_fd).st_ino)
                self.ops.append(Op("names", names=[(*place, what)]))

        def linked_to(target: Any, path: Any, *, dir_fd: int | None = None) -> None:
            real["symlink"](target, path, dir_fd=dir_fd)
            self._created(path, dir_fd, os.fsencode(target))

        def synced(fd: int) -> None:
            if (ours := self._of(fd)) is not None:
                self.ops.append(Op("sync", ours))

        def all_synced(fd: int) -> None:
            self.ops.append(Op("sync-all"))

        def cut(fd: int, length: int) -> None:
            real["ftruncate"](fd, length)
            if (ours := self._of(fd)) is not None:
                self.ops.append(Op("cut", ours, offset=length))

        instead = {
            "open": opened,
            "write": lambda fd, data: wrote(real["write"], fd, None, data),
            "writev": lambda fd, data: wrote(real["writev"], fd, None, data),
            "pwrite": lambda fd, data, offset: wrote(real["pwrite"], fd, offset, data, offset),
            "mkdir": lambda path, mode=0o777, *, dir_fd=None: named(real["mkdir"], path, mode, dir_fd=dir_fd),
            "unlink": lambda path, *, dir_fd=None: gone(real["unlink"], path, dir_fd=dir_fd),
            "rmdir": lambda path, *, dir_fd=None: gone(real["rmdir"], path, dir_fd=dir_fd),
            "rename": lambda old, new, **more: moved(real["rename"], old, new, **more),
            "replace": lambda old, new, **more: moved(real["replace"], old, new, **more),
            "link": linked,
            "symlink": linked_to,
            "fsync": synced,
            "fdatasync": synced,
            "ftruncate": cut,
        }
        with contextlib.ExitStack() as stack:
            for name, call in instead.items():
                stack.enter_context(mock.patch.object(os, name, call))
            stack.enter_context(mock.patch.object(places, "_rename", moved_with_flags))
            stack.enter_context(mock.patch.object(scribe, "sync_file_system", all_synced))
            yield

    # --- after the cut -------------------------------------------------------------------------------------------
    def after_power_cut(self, at: int, chance: random.Random, keep: float, into: Path) -> list[str]:
        """Build in `into` what may be there after the first `at` operations; returns the marks passed by then.

        `keep`: how likely each file's unsynced bytes are there, and how much of the names.
        """
        inodes: dict[int, _Inode] = {}
        named: list[tuple[Op, set[int]]] = []  # and the directories whose sync it still needs
        marks = []
        for op in self.ops[:at]:
            if op.what == "mark":
                marks.append(op.text)
            elif op.what == "new":
                inodes[op.inode] = _Inode(op.text, bytearray(op.data), op.data, number=op.offset)
            elif op.what == "write":
                one = inodes[op.inode]
                one.data.extend(bytes(max(0, op.offset - len(one.data))))
                one.data[op.offset : op.offset + len(op.data)] = op.data
                one.synced = False
            elif op.what == "cut":
                one = inodes[op.inode]
                del one.data[op.offset :]
                one.data.extend(bytes(op.offset - len(one.data)))
                one.synced = False
            elif op.what == "names":
                named.append((op, {directory for directory, _name, _what in op.names}))
            else:
                for number, one in inodes.items():
                    if op.what == "sync-all" or number == op.inode:
                        one.safe, one.synced = bytes(one.data), True
                for _op, needed in named:
                    needed.clear() if op.what == "sync-all" else needed.discard(op.inode)
        unsafe = [number for number, (_op, needed) in enumerate(named) if needed]
        kept = int(len(unsafe) * keep)
        until = unsafe[kept - 1] if kept else -1
        trees: dict[int, dict[str, int]] = {}
        for number, (op, needed) in enumerate(named):
            if number <= until or not needed:
                for directory, name, what in op.names:
                    names = trees.setdefault(directory, {})
                    if what is None:
                        names.pop(name, None)
                    else:
                        names[name] = what
        made: dict[int, Path] = {}
        self._build(self._root, into, inodes, trees, made, chance, keep)
        self._renumber(into, inodes, made)
        return marks

    def _build(
        self,
        number: int,
        path: Path,
        inodes: dict[int, _Inode],
        trees: dict[int, dict[str, int]],
        made: dict[int, Path],
        chance: random.Random,
        keep: float,
    ) -> None:
        one = inodes[number]
        if one.kind == "l":
            path.symlink_to(one.data.decode())
        elif one.kind == "f":
            if number in made:
                os.link(made[number], path)
            else:
                path.write_bytes(_left(one, chance, keep))
                made[number] = path
        else:
            path.mkdir(exist_ok=True)
            made[number] = path
            for name, what in trees.get(number, {}).items():
                self._build(what, path / name, inodes, trees, made, chance, keep)

    def _renumber(self, into: Path, inodes: dict[int, _Inode], made: dict[int, Path]) -> None:
        """The intent names inodes by the numbers they had."""
        path = into / "state" / intent.INTENT_NAME
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(path.read_bytes())
            now = {inodes[ours].number: where.stat().st_ino for ours, where in made.items()}
            for place in told["places"]:
                place["fresh_inode"] = now.get(place["fresh_inode"], place["fresh_inode"])
            path.write_text(json.dumps(told))


_EXCHANGE = 2
_CALLS = (
    "open",
    "write",
    "writev",
    "pwrite",
    "mkdir",
    "unlink",
    "rmdir",
    "rename",
    "replace",
    "link",
    "symlink",
    "fsync",
    "ftruncate",
)


def _there(path: Any, dir_fd: int | None) -> bool:
    try:
        os.lstat(path, dir_fd=dir_fd)
    except OSError:
        return False
    return True


def _left(one: _Inode, chance: random.Random, keep: float) -> bytes:
    if one.synced or chance.random() < keep:
        return bytes(one.data)
    return one.safe if chance.random() < 0.5 else bytes(len(one.data))
