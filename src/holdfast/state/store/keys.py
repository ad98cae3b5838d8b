"""The recovery key of a machine: 32 random bytes, as hex in a file of mode 0600, made on first use.

It wraps each repository's own key, so that a bucket is worth nothing without it, and losing it loses every snapshot.
So a copy lies beside it, which takes its place when it is gone or no key any more, and no new one is made where
repositories need the old one. Never in argv, logs or the ledger; `holdfast state key` prints it. Called by the worker's
jobs, by `state key` and by rebuilding from a bucket.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from holdfast.errors import RECOVERY_KEY_UNUSABLE, HoldfastError
from holdfast.files import sync_directory, write_atomic
from holdfast.state.store.ids import KEY_BYTES
from holdfast.state.store.sealing import cipher

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FILE_NAME = "recovery.key"
COPY_NAME = "recovery.key.copy"
_WRAP_CONTEXT = "holdfast 2026-11-21 snapshots: key that wraps repository keys"
_MARK_CONTEXT = "holdfast 2026-11-21 snapshots: mark of a recovery key"
_NONCE_BYTES = 12


def recovery_key(state_dir: Path) -> bytes:
    """This machine's, made if there is none. Raises HoldfastError when it is unusable or lost; OSError."""
    path = state_dir / FILE_NAME
    while True:
        try:
            key = read_recovery(path)
            break
        except FileNotFoundError:
            if _from_copy(path):
                continue
            needing = sorted(config.parent.parent.name for config in state_dir.glob("*/repo/config"))
            if needing and not path.exists():
                more = f" and {len(needing) - 3} more" if len(needing) > 3 else ""
                reason = f"it is gone, and snapshots of {', '.join(needing[:3])}{more} need it"
                raise HoldfastError(RECOVERY_KEY_UNUSABLE, where=path, reason=reason) from None
            _create(path)
        except HoldfastError:
            if not _from_copy(path):
                raise
    if not path.with_name(COPY_NAME).exists():
        keep_copy(path, key)
    return key


def keep_copy(path: Path, key: bytes) -> None:
    """Beside the key at `path`. What cannot be written now is written the next time."""
    with contextlib.suppress(OSError):
        write_atomic(path.with_name(COPY_NAME), key.hex().encode() + b"\n")


def _from_copy(path: Path) -> bool:
    """The copy takes the key's place; what was there is set aside. False: no copy could. Raises OSError."""
    try:
        key = read_recovery(path.with_name(COPY_NAME))
    except (FileNotFoundError, HoldfastError):
        return False
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_name(f"{FILE_NAME}.damaged-{int(time.time())}"))
    write_atomic(path, key.hex().encode() + b"\n")
    return True


def _create(path: Path) -> None:
    """Whoever comes second keeps the first one's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            os.write(fd, os.urandom(KEY_BYTES).hex().encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        os.unlink(temporary)
    sync_directory(path.parent)


def read_recovery(source: str | Path) -> bytes:
    """From the text itself (64 hex digits; blanks and dashes are passed over) or from a file that holds it.

    Raises HoldfastError for what is no key, FileNotFoundError for a file that is not there.
    """
    where = str(source) if isinstance(source, Path) else "what was given"
    if isinstance(source, Path):
        try:
            text = source.read_bytes()[:4096].decode("ascii", "replace")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise HoldfastError(RECOVERY_KEY_UNUSABLE, where=where, reason=error.strerror) from error
    else:
        text = source
    digits = "".join(text.split()).replace("-", "")
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise HoldfastError(RECOVERY_KEY_UNUSABLE, where=where, reason=f"it is not {2 * KEY_BYTES} hex digits")
    return key


def mark(recovery: bytes) -> str:
    """Tells one recovery key from another without telling anything of either."""
    return blake3(recovery, derive_key_context=_MARK_CONTEXT).hexdigest(8)


def wrap(recovery: bytes, repository_key: bytes, bound: bytes, nonce: bytes | None = None) -> bytes:
    """`bound`: what the wrapped key belongs to and is only unwrapped with."""
    nonce = os.urandom(_NONCE_BYTES) if nonce is None else nonce
    return nonce + _wrapper(recovery).encrypt(nonce, repository_key, bound)


def unwrap(recovery: bytes, wrapped: bytes, bound: bytes) -> bytes | None:
    """None: another recovery key, or not what was wrapped."""
    from cryptography.exceptions import InvalidTag

    try:
        key = _wrapper(recovery).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def _wrapper(recovery: bytes) -> AESGCM:
    return cipher(blake3(recovery, derive_key_context=_WRAP_CONTEXT).digest())
