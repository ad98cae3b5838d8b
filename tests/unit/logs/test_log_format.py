"""The worked example of docs/formats/logs.md is what the code writes and reads."""

from __future__ import annotations

from pathlib import Path

from holdfast.logs.index import Index, offset_before

PAGE = Path(__file__).parents[3] / "docs" / "formats" / "logs.md"
S = 1_000_000_000
BEGAN_NS = 1_700_000_000 * S


def example(name: str) -> bytes:
    return bytes.fromhex(PAGE.read_text().split(f"```hex {name}\n")[1].split("```")[0])


def test_the_index_in_the_documents_is_what_is_written(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "log.idx"), 4660)
    index.note(BEGAN_NS, 0)
    index.note(BEGAN_NS + 600 * S, 6)
    assert (tmp_path / "log.idx").read_bytes() == example("index")


def test_the_index_in_the_documents_is_read_as_it_says(tmp_path: Path) -> None:
    log = example("log")
    (tmp_path / "log.idx").write_bytes(example("index"))
    path = str(tmp_path / "log.idx")
    assert log[offset_before(path, 4660, BEGAN_NS + 300 * S, len(log)) :] == b"hello\nagain\n"
    assert log[offset_before(path, 4660, BEGAN_NS + 601 * S, len(log)) :] == b"again\n"
    assert offset_before(path, 4660, BEGAN_NS - S, len(log)) is None
