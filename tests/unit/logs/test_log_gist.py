"""What a match must hold: never a claim that a match could break."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.logs.gist import gists

PIECES = [
    "a",
    "b",
    ".",
    r"\d",
    r"\s",
    r"\w",
    "[ab]",
    "[^a]",
    "[a-f]",
    "[0-9]",
    "(ab|ba)",
    "(?:b)",
    "^",
    "$",
    r"\b",
    "ab1",
    "|",
]
REPEATS = ["", "", "", "*", "+", "?", "{2}", "{1,2}", "+?"]


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("needle", [b"needle"]),
        ("needle-in|the-hay", [b"needle-in", b"the-hay"]),
        ("x(error|timeout)", [b"error", b"timeout"]),
        (r"\d{4,} ms", [b"0000 ms"]),
        ("[a-f]{3}[0-9]{2}z", [b"aaa00z"]),
        (".*", None),
        (r"\d", None),
        ("(?x) a b c", None),
    ],
)
def test_a_pattern_is_read_as_texts(pattern: str, texts: list[bytes] | None) -> None:
    found = gists(pattern.encode(), ignore_case=False)
    assert ([needle.text for needle in found[0]] if found else None) == texts


@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(REPEATS)), min_size=1, max_size=7),
    st.text(alphabet="abcABC12 ._\tä", max_size=12),
    st.booleans(),
)
def test_what_matches_holds_a_needle_of_each_gist(parts: list[tuple[str, str]], line: str, ignore_case: bool) -> None:
    pattern = "".join(piece + repeat for piece, repeat in parts).encode()
    try:
        compiled = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except re.error:
        return
    text = line.encode()
    if compiled.search(text):
        for gist in gists(pattern, ignore_case=ignore_case):
            assert any(needle.text in needle.within(text) for needle in gist)
