"""The few system calls by which a repository reaches a disk, so that a test can record them and cut the power.

Nothing else writes below a repository's directory. Called by local_store.py alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

TMP_PREFIX = ".tmp-"  # of a file that is not published yet, where the file system knows no nameless files


class Disk:
    """The machine's own. All methods raise OSError."""

    def create(self, directory: Path) -> tuple[int, Path | None]:
        """A new empty file to be published in `directory`: descriptor, and its name if it had to have one."""
        try:
            return os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), None
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
        name = directory / f"{TMP_PREFIX}{os.getpid()}-{os.urandom(8).hex()}"
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), name

    def write(self, file: int, data: bytes | memoryview) -> int:
        return os.write(file, data)

    def sync(self, file: int) -> None:
        """Its content is on the disk, whatever happens to the power."""
        os.fdatasync(file)

    def publish(self, file: int, name: Path | None, final: Path) -> None:
        """Give it its name at once. Raises FileExistsError when there is such a file."""
        if name is not None:
            self._publish_named(name, final)
            return
        # Only with a directory's descriptor Python calls linkat, which follows; an absolute path makes no use of it.
        os.link(f"/proc/self/fd/{file}", final, src_dir_fd=file, follow_symlinks=True)

    def _publish_named(self, name: Path, final: Path) -> None:
        try:
            os.link(name, final)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            # A file system without hard links, as on a USB disk. A repository has one writer: nobody comes between.
            if final.exists():
                raise FileExistsError(errno.EEXIST, "there is such a file", str(final)) from None
            os.rename(name, final)
            return
        os.unlink(name)

    def close(self, file: int, name: Path | None) -> None:
        """Of an unpublished file nothing stays."""
        os.close(file)
        if name is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    def make_directory(self, directory: Path) -> None:
        """One that is there is as good."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)

    def sync_directory(self, directory: Path) -> None:
        """Names in it are on the disk."""
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # file systems that cannot sync a directory
                raise
        finally:
            os.close(fd)

    def sweep(self, directory: Path, older_than_s: float = 86_400.0) -> None:
        """Take out what a killed process left unpublished."""
        now = time.time()
        with os.scandir(directory) as entries:
            left = [entry for entry in entries if entry.name.startswith(TMP_PREFIX)]
        for entry in left:
            with contextlib.suppress(FileNotFoundError):
                if now - entry.stat(follow_symlinks=False).st_mtime > older_than_s:
                    os.unlink(entry.path)

    def keep_aside(self, path: Path, aside: Path) -> None:
        """A second name for it; where there are no hard links its only one. One that is missing has none."""
        try:
            os.link(path, aside, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            os.rename(path, aside)
        os.utime(aside)  # when it was set aside

    def replace(self, data: bytes, final: Path) -> None:
        """These bytes under that name, in one step. The caller syncs the directory."""
        name = final.with_name(f"{TMP_PREFIX}{os.getpid()}-{os.urandom(8).hex()}")
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                left = memoryview(data)
                while left:
                    left = left[self.write(file, left) :]
                self.sync(file)
            finally:
                os.close(file)
            os.rename(name, final)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def remove(self, path: Path) -> None:
        os.unlink(path)
