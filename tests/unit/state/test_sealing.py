"""Nothing that was changed, moved or cut is opened."""

from __future__ import annotations

import os

import pytest

from holdfast.state.store.sealing import HEADER_BYTES, Envelope, Unsealable

KEY = b"k" * 32


def test_a_part_opens_as_it_was_sealed() -> None:
    envelope = Envelope.fresh(b"HFPK", KEY, sealed=True)
    again = Envelope.of(envelope.header, b"HFPK", KEY)
    assert again.open(3, envelope.seal(3, b"plain")) == b"plain"
    assert b"plain" not in envelope.seal(3, b"plain")


def test_a_part_opens_under_no_other_number_key_or_header() -> None:
    envelope = Envelope.fresh(b"HFPK", KEY, sealed=True)
    sealed = envelope.seal(0, b"plain")
    others = [
        (Envelope.fresh(b"HFPK", KEY, sealed=True), 0),
        (Envelope.fresh(b"HFSN", KEY, sealed=True, salt=envelope.header[8:]), 0),
        (Envelope.of(envelope.header, b"HFPK", b"l" * 32), 0),
        (envelope, 1),
    ]
    for other, part in others:
        with pytest.raises(Unsealable):
            other.open(part, sealed)


def test_no_changed_bit_is_opened() -> None:
    envelope = Envelope.fresh(b"HFPK", KEY, sealed=True)
    whole = envelope.header + envelope.seal(0, os.urandom(20))
    for bit in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            other = Envelope.of(changed, b"HFPK", KEY)
            other.open(0, bytes(changed[HEADER_BYTES:]))
        except Unsealable:
            continue
        # A header that says "not sealed" hands out what is there, which is no plain text: ids and sums are for that.
        assert bit == 5 * 8
        assert not other.sealed


def test_what_is_too_short_is_said_to_be() -> None:
    envelope = Envelope.fresh(b"HFPK", KEY, sealed=True)
    with pytest.raises(Unsealable, match="too short"):
        Envelope.of(envelope.header[:-1], b"HFPK", KEY)
    with pytest.raises(Unsealable):
        envelope.open(0, b"abc")


def test_a_newer_version_is_said_to_be_one() -> None:
    header = bytearray(Envelope.fresh(b"HFPK", KEY, sealed=True).header)
    header[4] = 2
    with pytest.raises(Unsealable, match="format 2"):
        Envelope.of(header, b"HFPK", KEY)
