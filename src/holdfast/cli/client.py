"""The keeper's client: JSON over its Unix socket.

Every failure to reach the keeper becomes HF3001, every error the keeper answers keeps its own code. Called by every
command that asks the keeper; imported only then.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from holdfast import errors
from holdfast.cli import wire
from holdfast.cli.wire import Answer, WireError
from holdfast.errors import ErrorKind, HoldfastError
from holdfast.home import Home

POLL_S = 0.05


class AnsweredError(HoldfastError):
    """An error which the keeper answered: its code, words and exit code as they came."""

    def __init__(self, body: dict[str, Any]) -> None:
        code = str(body.get("code", "HF3009"))
        known = errors.CATALOGUE.get(code, errors.KEEPER_FAILED)
        self._summary = str(body.get("message", known.summary))
        self._next = str(body.get("next", known.next_step))
        exit_code = int(body.get("exit_code", known.exit_code))
        super().__init__(ErrorKind(code, str(body.get("name", known.name)), known.summary, known.next_step, exit_code))

    @property
    def summary(self) -> str:
        return self._summary

    @property
    def next_step(self) -> str:
        return self._next


class KeeperClient:
    """One request a call; nothing is kept open between calls, so a restarted keeper is found again."""

    def __init__(self, home: Home, timeout_s: float = 30.0) -> None:
        self.home = home
        self.timeout_s = timeout_s

    def get(self, path: str, **query: object) -> Any:
        return self._call("GET", path, query, None)

    def look(self, path: str, query: dict[str, object], timeout_s: float) -> Any:
        """As `get`, of what takes its time to find out."""
        return self._call("GET", path, query, None, timeout_s)

    def post(self, path: str, body: dict[str, Any], *, timeout_s: float | None = None) -> Any:
        return self._call("POST", path, {}, _json(body), timeout_s)

    def put(self, path: str, body: bytes, **query: object) -> Any:
        return self._call("PUT", path, query, body)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path, {}, None)

    def stream(self, path: str, *, follow: bool, **query: object) -> Iterator[bytes]:
        """Lines of a streamed answer, each with its newline. Ends when the answer does, also when the keeper died
        in the middle: a follower asks again. Raises HoldfastError when the request itself fails."""
        query = {**query, "follow": int(follow)}
        with self._answer("GET", path, query, None, None if follow else self.timeout_s) as response:
            while True:
                try:
                    line = response.readline()
                except (OSError, WireError):
                    return
                if not line:
                    return
                yield line

    def messages(self, method: str, path: str, body: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """The JSON lines of work under way, signs of life left out; takes as long as that. An answer that is cut short
        is KEEPER_UNREACHABLE: whether the work was done, nobody said."""
        raw = None if body is None else _json(body)
        with self._answer(method, path, {}, raw, None) as response:
            try:
                while line := response.readline():
                    if line.strip():
                        yield json.loads(line)
            except (OSError, WireError, ValueError) as error:
                raise HoldfastError(errors.KEEPER_UNREACHABLE, home=self.home.path) from error

    def pieces(self, path: str, query: dict[str, object]) -> Iterator[bytes]:
        """The bytes of an answer as they come. Raises WireError when it is cut short."""
        with self._answer("GET", path, query, None, None) as response:
            while piece := response.piece():
                yield piece

    def is_up(self) -> bool:
        try:
            self.get("/v1/status")
        except HoldfastError as error:
            return error.kind.code != errors.KEEPER_UNREACHABLE.code
        return True

    def wait_until_up(self, timeout_s: float) -> bool:
        """True as soon as the keeper answers, False when it did not within `timeout_s` seconds."""
        deadline_mono = time.monotonic() + timeout_s
        while not self.is_up():
            if time.monotonic() >= deadline_mono:
                return False
            time.sleep(POLL_S)
        return True

    def _call(
        self, method: str, path: str, query: dict[str, object], body: bytes | None, timeout_s: float | None = None
    ) -> Any:
        with self._answer(method, path, query, body, timeout_s or self.timeout_s) as response:
            try:
                return json.loads(response.read() or b"null")
            except (OSError, WireError, ValueError) as error:
                raise HoldfastError(errors.KEEPER_UNREACHABLE, home=self.home.path) from error

    @contextmanager
    def _answer(
        self, method: str, path: str, query: dict[str, object], body: bytes | None, timeout_s: float | None
    ) -> Iterator[Answer]:
        try:
            target = quote(path) + (f"?{urlencode(query)}" if query else "")
        except UnicodeEncodeError as error:
            raise _not_text(error.object) from error
        try:
            response = wire.ask(os.fspath(self.home.api_socket), method, target, body, timeout_s)
        except PermissionError as error:
            raise HoldfastError(
                errors.HOME_UNUSABLE, home=self.home.path, reason=f"it belongs to {_owner(self.home)}"
            ) from error
        except (OSError, WireError) as error:
            raise HoldfastError(errors.KEEPER_UNREACHABLE, home=self.home.path) from error
        try:
            if response.status >= 400:
                raise _error_of(response, self.home)
            yield response
        finally:
            response.close()


def _json(body: dict[str, Any]) -> bytes:
    """Raises HoldfastError where it holds bytes that are no UTF-8, which JSON cannot carry."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise _not_text(error.object) from error


def _not_text(said: str) -> HoldfastError:
    reason = f"{said[:200]!a} is no UTF-8, so it cannot be asked for: name the directory above it"
    return HoldfastError(errors.USAGE, reason=reason, command="holdfast")


def _error_of(response: Answer, home: Home) -> HoldfastError:
    try:
        body = json.loads(response.read())["error"]
        return AnsweredError(body)
    except (OSError, WireError, ValueError, KeyError, TypeError):
        return HoldfastError(errors.KEEPER_FAILED, home=home.path, reason=f"HTTP {response.status}")


def _owner(home: Home) -> str:
    """Who owns the home, as a name where there is one."""
    import pwd

    try:
        uid = os.stat(home.path).st_uid
    except OSError:
        return "another user"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
