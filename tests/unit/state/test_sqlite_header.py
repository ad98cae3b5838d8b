"""What counts as a database, by its first hundred bytes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from holdfast.state.databases import sqlite_header


def _made(path: Path, *pragmas: str) -> bytes:
    link = sqlite3.connect(path)
    for pragma in pragmas:
        link.execute(f"PRAGMA {pragma}")
    link.execute("CREATE TABLE t(a)")
    link.commit()
    link.close()
    return path.read_bytes()[:100]


@pytest.mark.parametrize("size", [512, 1024, 4096, 8192, 32768, 65536])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_what_sqlite_makes_is_recognised(tmp_path: Path, size: int, journal: str) -> None:
    found = sqlite_header.parse(_made(tmp_path / "a.db", f"page_size={size}", f"journal_mode={journal}"))
    assert found == sqlite_header.Header(page_size=size, wal=journal == "wal")


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        pytest.param(0, b"sqlite", id="another magic"),
        pytest.param(16, b"\x00\x00", id="no page size"),
        pytest.param(16, b"\x0f\xff", id="page size no power of two"),
        pytest.param(16, b"\x01\x00", id="page size of 256"),
        pytest.param(18, b"\x03", id="a format of the future"),
        pytest.param(19, b"\x00", id="a format of no time"),
        pytest.param(20, b"\xff", id="too little of a small page usable"),
        pytest.param(21, b"\x41", id="another fraction"),
    ],
)
def test_what_only_looks_like_one_is_not(tmp_path: Path, offset: int, value: bytes) -> None:
    first = bytearray(_made(tmp_path / "a.db", "page_size=512"))
    assert sqlite_header.is_database(bytes(first))
    first[offset : offset + len(value)] = value
    assert not sqlite_header.is_database(bytes(first))


@pytest.mark.parametrize("first", [b"", b"SQLite format 3\0", b"\x8f" * 100, b"SQLite format 3\0" + bytes(80)])
def test_empty_short_and_encrypted_files_are_not(first: bytes) -> None:
    assert not sqlite_header.is_database(first)
