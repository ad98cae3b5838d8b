"""Reading HTTP answers that arrive in pieces."""

import pytest

from holdfast import limits
from holdfast.health.answer import Answer, BrokenAnswer, read

OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"

WHOLE = {
    "with a length": (OK_HEAD + b"Content-Length: 2\r\n\r\n{}", Answer(200, b"application/json", b"{}", True)),
    "header names in capitals": (
        b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 2\r\nCONTENT-TYPE: Text/HTML\r\n\r\nhi",
        Answer(200, b"text/html", b"hi", True),
    ),
    "that will be closed": (
        OK_HEAD + b"Content-Length: 2\r\nConnection: Close\r\n\r\n{}",
        Answer(200, b"application/json", b"{}", False),
    ),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", Answer(200, b"", b"{}", False)),
    "in chunks": (
        OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
        Answer(200, b"application/json", b"{}", True),
    ),
    "in chunks with trailers": (
        OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n\r\n",
        Answer(200, b"application/json", b"{}", True),
    ),
    "after 100 Continue": (
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK_HEAD + b"Content-Length: 2\r\n\r\n{}",
        Answer(200, b"application/json", b"{}", True),
    ),
    "without content": (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, b"", b"", True)),
    "with more bytes than announced": (
        OK_HEAD + b"Content-Length: 2\r\n\r\n{}HTTP/1.1",
        Answer(200, b"application/json", b"{}", False),
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_answer_is_read(name: str) -> None:
    received, wanted = WHOLE[name]
    assert read(received, False) == wanted


@pytest.mark.parametrize("name", [name for name in WHOLE if "more bytes" not in name])
def test_no_prefix_of_an_answer_is_taken_for_the_whole(name: str) -> None:
    received, _ = WHOLE[name]
    for length in range(len(received)):
        assert read(received[:length], False) is None


def test_an_answer_without_length_ends_when_the_connection_does() -> None:
    assert read(OK_HEAD + b"\r\n{}", False) is None
    assert read(OK_HEAD + b"\r\n{}", True) == Answer(200, b"application/json", b"{}", False)


BROKEN = {
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", False),
    "not HTTP at all, and short": (b"220", False),
    "HTTP/2 in the clear": (b"\x00\x00\x12\x04\x00", False),
    "a status that is no number": (b"HTTP/1.1 abc OK\r\n\r\n", False),
    "closed without a byte": (b"", True),
    "closed in the head": (b"HTTP/1.1 200", True),
    "closed in the body": (OK_HEAD + b"Content-Length: 9\r\n\r\n{}", True),
    "closed in a chunk": (OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}", True),
    "a length that is no number": (OK_HEAD + b"Content-Length: -1\r\n\r\n", False),
    "a chunk without size": (OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", False),
    "a negative chunk": (OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", False),
    "an endless head": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 4000, False),
    "a length beyond the bound": (OK_HEAD + b"Content-Length: 99999999\r\n\r\n", False),
    "an endless body": (OK_HEAD + b"\r\n" + b"x" * (limits.PROBE_BODY_MAX_BYTES + 1), False),
    "chunks beyond the bound": (
        OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 5,
        False,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_refused(name: str) -> None:
    received, closed = BROKEN[name]
    with pytest.raises(BrokenAnswer):
        read(received, closed)
