"""One HTTP answer, however it arrives: in one piece, in chunks, byte by byte, or cut short."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.cli import wire

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none\ntw"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\non\r\n4;x=y\r\ne\ntw\r\n0\r\n\r\n"
TO_THE_END = b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\none\ntw"
WHOLE = [LENGTH, CHUNKS, TO_THE_END]
BROKEN = [b"", b"SSH-2.0-x\r\n", LENGTH[:-1], CHUNKS[:-9], CHUNKS.replace(b"4;", b"zz"), LENGTH[:20]]


@contextmanager
def answering(path: Path, raw: bytes, size: int) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen(1)

        def serve() -> None:
            link, _ = server.accept()
            with link, contextlib.suppress(BrokenPipeError):  # who asked may have read enough
                link.recv(65_536)
                for start in range(0, len(raw), size):
                    link.sendall(raw[start : start + size])

        thread = threading.Thread(target=serve)
        thread.start()
        yield str(path)
        thread.join()


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("raw", WHOLE, ids=["length", "chunks", "to the end"])
def test_an_answer_is_read_whole_and_line_by_line(tmp_path: Path, raw: bytes, size: int) -> None:
    with answering(tmp_path / "a", raw, size) as path:
        answer = wire.ask(path, "GET", "/", None, 5.0)
        assert (answer.status, answer.read()) == (200, b"one\ntw")
        answer.close()
    with answering(tmp_path / "b", raw, size) as path:
        answer = wire.ask(path, "GET", "/", None, 5.0)
        assert list(iter(answer.readline, b"")) == [b"one\n", b"tw"]
        answer.close()


@pytest.mark.parametrize("raw", BROKEN)
def test_an_answer_cut_short_is_never_taken_for_a_whole_one(tmp_path: Path, raw: bytes) -> None:
    def read() -> None:
        answer = wire.ask(path, "POST", "/", b"{}", 5.0)
        try:
            answer.read()
        finally:
            answer.close()

    with answering(tmp_path / "a", raw, 1000) as path, pytest.raises((wire.WireError, OSError)):
        read()
