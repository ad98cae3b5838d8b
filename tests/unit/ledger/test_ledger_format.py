"""The worked example of docs/formats/ledger.md is real: these bytes are written, and read by another implementation."""

from __future__ import annotations

import hashlib
from pathlib import Path

from holdfast.ledger import segment
from holdfast.ledger.chain import Ledger
from tests.harness.manual_clock import ManualClock

PAGE = Path(__file__).parents[3] / "docs" / "formats" / "ledger.md"


def example() -> bytes:
    dump = PAGE.read_text().split("```hex\n")[1].split("```")[0]
    return b"".join(bytes.fromhex(line[6:]) for line in dump.splitlines())


def test_the_example_in_the_documents_is_what_is_written(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l", ManualClock(at=1_700_000_000.0), home_id="5eed0001")
    ledger.append("exited", "web", {"code": 1, "lived_s": 3.5}, actor="init")
    ledger.append("restart", "web", {"why": "it died", "tier": 1}, actor="keeper")
    assert (tmp_path / "l" / segment.name(1)).read_bytes().rstrip(b"\0") == example()
    assert f"`{ledger.head.text}`" in PAGE.read_text()


def test_a_reader_written_from_the_page_alone_verifies_the_example() -> None:
    data = example()

    def number(raw: bytes) -> int:
        return int.from_bytes(raw, "big")

    def field(raw: bytes) -> bytes:
        return len(raw).to_bytes(4, "big") + raw

    def fields(raw: bytes) -> list[bytes]:
        found = []
        while raw:
            length = number(raw[:4])
            found.append(raw[4 : 4 + length])
            raw = raw[4 + length :]
        return found

    length = number(data[8:12])
    version, home_id, _, first_seq, previous = fields(data[12 : 12 + length])
    assert number(version) == 1
    assert previous == hashlib.sha256(field(b"holdfast ledger genesis 1") + field(home_id)).digest()
    at, seq, kinds = 12 + length + 32, number(first_seq), []
    assert hashlib.sha256(field(b"holdfast ledger segment 1") + data[12 : at - 32]).digest() == data[at - 32 : at]
    while at < len(data):
        assert data[at : at + 4] == b"\xffHFR"
        length = number(data[at + 4 : at + 8])
        content, hash_ = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 40 + length]
        assert hashlib.sha256(field(b"holdfast ledger record 1") + content).digest() == hash_
        own_seq, _, kind, _, _, _, own_previous = fields(content)
        assert (number(own_seq), own_previous) == (seq, previous)
        kinds.append(kind)
        at, seq, previous = at + 40 + length, seq + 1, hash_
    assert kinds == [b"exited", b"restart"]
