"""Just enough HTTP/1.1 to talk with the keeper: one request on one Unix socket, its answer whole or line by line.

Invariant: an answer that was cut short is never taken for a whole one. Made for our own server, which sends a length
or chunks; the standard library's client costs a quarter of a short command's time to import. Called by client.py.
"""

from __future__ import annotations

import socket
from io import BufferedReader

HEAD_LINES_MAX = 100
LINE_MAX_BYTES = 65_536


class WireError(Exception):
    """What came is no HTTP answer, or ended too early."""


class Answer:
    """Status and body of one answer. Close it."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._file: BufferedReader = link.makefile("rb")
        self._left: int | None = None  # bytes of the body, or of the current chunk; None: up to the end
        self._chunked = False
        self._ended = False
        self._rest = b""  # of streamed bytes, what is no whole line yet
        self.status = self._read_head()

    def read(self) -> bytes:
        """The whole body. Raises OSError and WireError."""
        return b"".join(iter(self._piece, b""))

    def readline(self) -> bytes:
        """One line with its newline, b"" at the end of the answer. Raises OSError and WireError."""
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                return line + newline
            piece = self._piece(available=True)
            if not piece:
                self._rest = b""
                return line
            self._rest += piece

    def piece(self) -> bytes:
        """What has come of the body, b"" at its end. Raises OSError and WireError."""
        return self._piece(available=True)

    def close(self) -> None:
        self._file.close()
        self._link.close()

    def _read_head(self) -> int:
        words = self._head_line().split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise WireError("no HTTP answer")
        for _ in range(HEAD_LINES_MAX):
            line = self._head_line()
            if not line:
                return int(words[1])
            name, _, value = line.partition(b":")
            name, value = name.strip().lower(), value.strip().lower()
            if name == b"content-length" and value.isdigit():
                self._left = int(value)
            elif name == b"transfer-encoding" and value == b"chunked":
                self._chunked, self._left = True, 0
        raise WireError("too many header lines")

    def _head_line(self) -> bytes:
        line = self._file.readline(LINE_MAX_BYTES)
        if not line.endswith(b"\n"):
            raise WireError("the answer was cut short")
        return line.rstrip(b"\r\n")

    def _piece(self, available: bool = False) -> bytes:
        """The next bytes of the body, b"" at its end. `available`: what is there already, rather than all of it."""
        if self._chunked and not self._left and not self._ended:
            self._next_chunk()
        if self._ended or self._left == 0:
            return b""
        take = self._file.read1 if available else self._file.read
        piece = take(LINE_MAX_BYTES if self._left is None else min(self._left, LINE_MAX_BYTES))
        if self._left is not None:
            if not piece:
                raise WireError("the answer was cut short")
            self._left -= len(piece)
            if self._chunked and not self._left:
                self._head_line()  # the line end behind the chunk
        return piece

    def _next_chunk(self) -> None:
        try:
            self._left = int(self._head_line().partition(b";")[0], 16)
        except ValueError as error:
            raise WireError("a chunk without a length") from error
        if not self._left:
            self._ended = True


def ask(path: str, method: str, target: str, body: bytes | None, timeout_s: float | None) -> Answer:
    """Send one request to the socket at `path`. Raises OSError and WireError."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(timeout_s)
        link.connect(path)
        head = f"{method} {target} HTTP/1.1\r\nHost: holdfast\r\nConnection: close\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        link.sendall(head.encode() + b"\r\n" + (body or b""))
        return Answer(link)
    except BaseException:
        link.close()
        raise
