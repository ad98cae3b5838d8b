"""A place in a bucket: S3, Google Cloud Storage or Azure, through obstore.

Invariants: objects are created only where there is none (never compared and swapped); no credential and no answer of
the server is ever repeated in an error; each request ends within STORE_READ_S or STORE_WRITE_S and few retries, what
fails after them is the queue's to try again. Credentials come from the environment of `holdfast up`, a profile, or the
machine's role.

The client library runs threads from its first request on, so a process that forks must never make one.
Called by second_place.py and rebuild.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from holdfast import limits
from holdfast.state.second_place import aws_profile
from holdfast.state.second_place.refusals import explain, is_missing
from holdfast.state.store.objects import Missing, Stored, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"),
}
_ALLOW_HTTP = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine itself, where plain http is nobody else's to read. Pure."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_endpoint(url: str) -> bool:
    """Whether a server can be asked there. Pure. The client library does not survive what is no URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def may_speak_http(scheme: str, endpoint: str, environ: Mapping[str, str]) -> bool:
    """Pure. Elsewhere than on this machine only where the user said so."""
    return is_loopback(endpoint) or environ.get(_ALLOW_HTTP[scheme], "").lower() in ("1", "true", "yes")


class RemoteStore:
    """Objects below `url`, which is scheme://bucket[/prefix]. Threads may share one. A bad URL: StoreError."""

    def __init__(self, url: str, environ: Mapping[str, str] | None = None) -> None:
        self.where = url.rstrip("/")
        parts = urlsplit(self.where)
        if parts.scheme not in SCHEMES or not parts.netloc or "@" in parts.netloc:
            raise StoreError("a bucket is named s3://, gs:// or az://, then BUCKET/PREFIX", lasting=True)
        self._scheme, self._bucket, self._prefix = parts.scheme, parts.netloc, parts.path.strip("/")
        with self._asking("get", ""):
            known = os.environ if environ is None else environ
            self._reading = self._client(known, limits.STORE_READ_S)
            self._writing = self._client(known, limits.STORE_WRITE_S)

    def _client(self, environ: Mapping[str, str], timeout_s: float) -> ObjectStore:
        from obstore import store as stores

        found: dict[str, Any] = aws_profile.from_files(environ) if self._scheme == "s3" else {}
        endpoint = found.get("endpoint", "")
        endpoint = next((environ[name] for name in _ENDPOINTS[self._scheme] if environ.get(name)), endpoint)
        if endpoint and not is_endpoint(endpoint):
            raise StoreError(f"{_ENDPOINTS[self._scheme][-1]} is not an http or https URL", lasting=True)
        client: dict[str, Any] = {
            "connect_timeout": timedelta(seconds=limits.STORE_CONNECT_S),
            "timeout": timedelta(seconds=timeout_s),
            "allow_http": may_speak_http(self._scheme, endpoint, environ),
        }
        if self._scheme == "s3" and environ.get("AWS_CA_BUNDLE"):
            try:
                client["root_certificate"] = Path(environ["AWS_CA_BUNDLE"]).read_bytes()
            except OSError as error:
                raise StoreError(f"AWS_CA_BUNDLE cannot be read: {error.strerror}", lasting=True) from error
        backoff = {
            "init_backoff": timedelta(seconds=limits.STORE_RETRY_FIRST_S),
            "max_backoff": timedelta(seconds=limits.STORE_RETRY_LONGEST_S),
        }
        given: dict[str, Any] = {
            "prefix": self._prefix or None,
            "client_options": client,
            "retry_config": {
                "max_retries": limits.STORE_RETRIES,
                "retry_timeout": timedelta(seconds=limits.STORE_RETRY_ALL_S),
                "backoff": backoff,
            },
        }
        if self._scheme == "s3":
            return stores.S3Store(self._bucket, **given, **found)
        kind: Any = stores.GCSStore if self._scheme == "gs" else stores.AzureStore
        made: ObjectStore = kind(self._bucket, **given)
        return made

    @contextmanager
    def _asking(self, act: str, name: str) -> Iterator[None]:
        """Turn every error of the client library into StoreError, without repeating its words."""
        from obstore.exceptions import BaseError

        place = f"{self.where}/{name}" if name else self.where
        try:
            yield
        except FileNotFoundError as error:
            if act != "put" and is_missing(str(error)):
                raise Missing(f"{place} is not there", lasting=True) from None
            sentence, lasting = explain(str(error), act, self._bucket)
            raise StoreError(f"{self.where}: {sentence}", lasting=lasting) from None
        except (BaseError, PermissionError, ValueError, OSError) as error:
            sentence, lasting = explain(str(error), act, self._bucket)
            raise StoreError(f"{place}: {sentence}", lasting=lasting) from None

    def put(self, name: str, data: bytes | Iterable[bytes]) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        start, rest = beginning(data, limits.STORE_MULTIPART_BYTES)
        if rest is not None:
            return self._put_large(name, chain((start,), rest))
        with self._asking("put", name):
            try:
                obstore.put(self._writing, name, start, mode="create", use_multipart=False)
            except AlreadyExistsError:
                pass
            else:
                return True
        try:
            self.size(name)
        except Missing:
            # Somebody else was creating it just then and did not finish.
            raise StoreError(f"{self.where}/{name}: the server answered 409 to two writers at once") from None
        return False

    def _put_large(self, name: str, pieces: Iterator[bytes]) -> bool:
        """In parts, for which there is no create-if-absent: only names that tell their content become so large."""
        import obstore

        try:
            self.size(name)
            return False
        except Missing:
            pass
        with self._asking("put", name):
            obstore.put(
                self._writing,
                name,
                pieces,
                use_multipart=True,
                chunk_size=limits.STORE_PART_BYTES,
                max_concurrency=limits.UPLOADS_AT_ONCE,
            )
        return True

    def get(self, name: str) -> bytes:
        import obstore

        with self._asking("get", name):
            return bytes(obstore.get(self._reading, name).bytes())

    def ranges(self, name: str, wanted: list[tuple[int, int]]) -> list[bytes]:
        import obstore

        if not wanted:
            return []
        with self._asking("get", name):
            starts, lengths = [start for start, _ in wanted], [length for _, length in wanted]
            found = [bytes(piece) for piece in obstore.get_ranges(self._reading, name, starts=starts, lengths=lengths)]
        if [len(piece) for piece in found] != lengths:
            raise StoreError(f"{self.where}/{name} is shorter than it was", lasting=True)
        return found

    def size(self, name: str) -> int:
        import obstore

        with self._asking("get", name):
            return int(obstore.head(self._reading, name)["size"])

    def folders(self, prefix: str) -> list[str]:
        """Names directly below `prefix` (which ends with `/`) that have objects below them."""
        import obstore

        with self._asking("list", ""):
            found = obstore.list_with_delimiter(self._reading, prefix=prefix)["common_prefixes"]
        return sorted(name.removeprefix(prefix).strip("/") for name in found)

    def list(self, prefix: str) -> Iterator[Stored]:
        import obstore

        with self._asking("list", ""):
            for batch in obstore.list(self._reading, prefix=prefix or None):
                for found in batch:
                    if found["path"].startswith(prefix):
                        yield Stored(found["path"], int(found["size"]), found["last_modified"].timestamp())

    def delete(self, name: str) -> None:
        import obstore

        try:
            with self._asking("delete", name):
                obstore.delete(self._writing, name)
        except Missing:
            pass


def beginning(data: bytes | Iterable[bytes], at_most: int) -> tuple[bytes, Iterator[bytes] | None]:
    """All of `data` when that is not above `at_most` bytes; else a first part and the rest. Pure."""
    if isinstance(data, bytes):
        return (data, None) if len(data) <= at_most else (data[:at_most], iter((data[at_most:],)))
    pieces = iter(data)
    gathered: list[bytes] = []
    size = 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size > at_most:
            return b"".join(gathered), pieces
    return b"".join(gathered), None
