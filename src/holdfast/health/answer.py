"""Reading one HTTP/1.x answer from bytes that arrive in pieces. Pure.

`read` is given all bytes received so far and says: not complete yet (None), complete, or broken. It never waits and
never trusts a length: head and body are bounded. Called by the probe engine after each receive.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast import limits


class BrokenAnswer(Exception):
    """What arrived is no acceptable HTTP answer; the text is one clause for `why`."""


class Answer(NamedTuple):
    status: int
    content_type: bytes  # lower case, without parameters
    body: bytes
    reusable: bool  # the connection may carry another request


def read(received: bytes, closed: bool) -> Answer | None:
    """The answer in `received`; None when more is needed. `closed`: nothing more will come.

    Raises BrokenAnswer.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        if received and not (received.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(received)):
            raise BrokenAnswer("the answer is not HTTP")
        if len(received) > limits.PROBE_HEAD_MAX_BYTES:
            raise BrokenAnswer("the answer's head is too long")
        if closed:
            raise BrokenAnswer("the connection was closed in the middle of the answer" if received else NO_ANSWER)
        return None
    head = received[:end].lower()
    if not head.startswith(b"http/1.") or not head[9:12].isdigit():
        raise BrokenAnswer("the answer is not HTTP")
    status = int(head[9:12])
    if 100 <= status < 200:
        return read(received[end + 4 :], closed)
    return _with_body(status, head, received, end + 4, closed)


NO_ANSWER = "the connection was closed without an answer"


def _with_body(status: int, head: bytes, received: bytes, start: int, closed: bool) -> Answer | None:
    keeps = b"close" not in _header(head, b"connection") if head[7:8] == b"1" else False
    kind = _header(head, b"content-type").partition(b";")[0].strip()
    if status in (204, 304):
        return Answer(status, kind, b"", keeps and len(received) == start)
    if b"chunked" in _header(head, b"transfer-encoding"):
        return _chunked(status, kind, received, start, keeps, closed)
    length_text = _header(head, b"content-length")
    if not length_text:
        _bound(len(received) - start)
        return Answer(status, kind, received[start:], False) if closed else None
    if not length_text.isdigit() or len(length_text) > 12:
        raise BrokenAnswer("the answer's Content-Length is no number")
    stop = start + int(length_text)
    _bound(stop - start)
    if len(received) < stop:
        if closed:
            raise BrokenAnswer("the connection was closed in the middle of the answer")
        return None
    return Answer(status, kind, received[start:stop], keeps and len(received) == stop)


def _header(head: bytes, name: bytes) -> bytes:
    """Value of a header in a lower-case head; empty when absent."""
    at = head.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    stop = head.find(b"\r\n", start)
    return (head[start:] if stop < 0 else head[start:stop]).strip()


def _bound(length: int) -> None:
    if length > limits.PROBE_BODY_MAX_BYTES:
        raise BrokenAnswer(f"the answer is longer than {limits.PROBE_BODY_MAX_BYTES} bytes")


def _chunked(status: int, kind: bytes, received: bytes, start: int, keeps: bool, closed: bool) -> Answer | None:
    parts: list[bytes] = []
    total = 0
    at = start
    while (line_end := received.find(b"\r\n", at)) >= 0:
        size_text = received[at:line_end].partition(b";")[0].strip()
        try:
            size = int(size_text, 16)
        except ValueError:
            size = -1
        if size < 0 or len(size_text) > 8:
            raise BrokenAnswer("a chunk of the answer has no valid size")
        data = line_end + 2
        if size == 0:
            end = _after_trailers(received, data)
            if end is None:
                break
            return Answer(status, kind, b"".join(parts), keeps and end == len(received))
        total += size
        _bound(total)
        if len(received) < data + size + 2:
            break
        parts.append(received[data : data + size])
        at = data + size + 2
    _bound(len(received) - start - limits.PROBE_HEAD_MAX_BYTES)
    if closed:
        raise BrokenAnswer("the connection was closed in the middle of the answer")
    return None


def _after_trailers(received: bytes, at: int) -> int | None:
    if received.startswith(b"\r\n", at):
        return at + 2
    end = received.find(b"\r\n\r\n", at)
    return None if end < 0 else end + 4
