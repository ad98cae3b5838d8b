"""Searching logs: the fast way finds what the slow way finds, in order, whatever cuts the lines."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.logs import matcher as matcher_module
from holdfast.logs import search
from holdfast.logs.matcher import Matcher
from holdfast.logs.pieces import Stream
from holdfast.logs.query import Query, merge, select
from tests.unit.logs.test_log_archive import home_with, tidy

PIECES = [
    "a",
    "b",
    "ab",
    ".",
    "\\d",
    "\\s",
    "\\S",
    "\\D",
    "\\W",
    "[ab]",
    "[^a]",
    "[^\\s]",
    "(a|b)",
    "(?:b)",
    "(?i:A)",
    "1",
]
PIECES += [
    "\\b",
    "^",
    "$",
    " ",
    "\\.",
    "|",
    "(?=b)",
    "(?!b)",
    "(?<=a)",
    "[a-c0-9]",
    "\\n",
    "\\x61",
    "ä",
    "[äb]",
    "[\\s]",
    "\\Z",
]
REPEATS = ["", "", "", "*", "+", "?", "{2}", "{1,2}", "*?", "+?"]


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(REPEATS)), min_size=1, max_size=5),
    st.lists(st.text(alphabet="abAB1 .\tä\x85", max_size=6), max_size=8),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 1, 64]),
)
def test_a_block_has_the_lines_that_match_one_by_one(
    parts: list[tuple[str, str]], texts: list[str], ignore_case: bool, invert: bool, misses: int
) -> None:
    pattern = "".join(piece + repeat for piece, repeat in parts)
    try:
        matcher = Matcher(pattern, ignore_case=ignore_case, invert=invert)
    except ValueError:
        return
    block = "\n".join(texts).encode()
    matcher_module.MISSES_MAX = misses
    found = [block[start:end] for start, end in matcher.hits(block)]
    lines = block.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    assert found == [line for line in lines if matcher.matches(line)]


@pytest.mark.parametrize("pattern", ["[", "(", "*", "a{2", "(?P<x", "x" * 5000, "\\"])
def test_wrong_patterns_are_refused_with_words(pattern: str) -> None:
    try:
        re.compile(pattern)
        allowed = len(pattern) <= 4096
    except re.error:
        allowed = False
    if not allowed:
        with pytest.raises(ValueError, match=r"regular expression|longer"):
            Matcher(pattern)


def test_text_beyond_ascii_is_found_in_any_case() -> None:
    assert Matcher("FRÜH", ignore_case=True).matches("zu früh".encode())
    assert Matcher("fr[üu]h").matches("früh".encode())
    assert not Matcher("fr[üu]h").matches("frûh".encode())


@pytest.mark.parametrize("backwards", [False, True])
def test_units_cut_anywhere_find_each_line_once(
    backwards: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = 7
    print(f"seed {seed}")
    rng = random.Random(seed)
    lines = [b"%d %s" % (number, b"x" * rng.choice((0, 3, 40, 900))) for number in range(400)]
    content = b"\n".join(lines)
    cuts = sorted(rng.sample(range(len(content)), 3))
    home = home_with(tmp_path, *(content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)))
    tidy(home)
    stream = Stream(str(home.agent_logs("a")))
    monkeypatch.setattr(search, "READ_BYTES", 97)
    for unit in (50, 333, 5000):
        monkeypatch.setattr(search, "UNIT_BYTES", unit)
        units = list(search.find(stream, Matcher("7"), 0, stream.size, backwards=backwards))
        found = [hit.text for unit_hits in (units[::-1] if backwards else units) for hit in unit_hits]
        assert found == [line for line in lines if b"7" in line]
    stream.close()


def test_several_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"".join(b"%d %s\n" % (number, b"y" * 90) for number in range(30_000))
    home = home_with(tmp_path, content, content)
    tidy(home)
    monkeypatch.setattr(search, "PARALLEL_FROM_BYTES", 0)
    monkeypatch.setattr(search, "UNIT_BYTES", 300_000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    stream = Stream(str(home.agent_logs("a")))
    hits = [hit for unit in search.find(stream, Matcher("^2999[0-9] "), 0, stream.size) for hit in unit]
    assert [hit.text[:5] for hit in hits] == [b"2999%d" % number for number in range(10)] * 2
    stopped = search.find(stream, Matcher("y"), 0, stream.size)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    stream.close()


def test_memory_stays_bounded_by_a_line_of_any_length(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"first needle\n" + b"x" * 9_000_000 + b"\nlast needle\n")
    stream = Stream(str(home.agent_logs("a")))
    hits = [hit.text for unit in search.find(stream, Matcher("needle|xxx"), 0, stream.size) for hit in unit]
    assert hits[0] == b"first needle"
    assert hits[-1] == b"last needle"
    assert all(len(hit) < 70_000 for hit in hits)
    stream.close()


def selected(stream: Stream, query: Query) -> list[tuple[bytes, bool]]:
    return [(line.text, line.gap) for line in select("a", stream, query)[0]]


@pytest.mark.parametrize("context", [0, 1, 2, 5, 50])
@pytest.mark.parametrize("wanted", [{3}, {0}, {19}, {3, 4}, {3, 6}, {2, 9, 10, 19}])
def test_context_shows_each_line_once_and_marks_gaps(context: int, wanted: set[int], tmp_path: Path) -> None:
    lines = [b"%d %s" % (number, b"hit" if number in wanted else b"-") for number in range(20)]
    home = home_with(tmp_path, b"\n".join(lines))
    stream = Stream(str(home.agent_logs("a")))
    expected = [n for n in range(20) if any(abs(n - hit) <= context for hit in wanted)]
    found = selected(stream, Query(matcher=Matcher("hit"), context=context))
    assert [text for text, _ in found] == [lines[number] for number in expected]
    if context:
        gaps = [b > a + 1 for a, b in zip([expected[0] - 1, *expected], expected, strict=False)]
        assert [gap for _, gap in found] == gaps
    stream.close()


def test_the_last_matches_are_found_from_the_end(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"".join(b"%d\n" % number for number in range(1000)), b"1000\n1001\n")
    stream = Stream(str(home.agent_logs("a")))
    assert selected(stream, Query(matcher=Matcher("7$"), last=2)) == [(b"987", False), (b"997", False)]
    assert selected(stream, Query(matcher=Matcher("7$"), last=0)) == []
    stream.close()


def test_until_leaves_out_what_came_later(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"1\n2\n", b"3\n", b"4\n")
    stream = Stream(str(home.agent_logs("a")))
    at = {text: line_at for line_at, _, text, _ in select("a", stream, Query())[0]}
    assert selected(stream, Query(until_ns=at[b"3"] - 1)) == [(b"1", False), (b"2", False)]
    assert selected(stream, Query(until_ns=at[b"3"] + 1)) == [(b"1", False), (b"2", False), (b"3", False)]
    assert selected(stream, Query(since_ns=at[b"3"], until_ns=at[b"4"] - 1)) == [(b"3", False)]
    stream.close()


def test_several_agents_are_in_the_order_of_time(tmp_path: Path) -> None:
    one = home_with(tmp_path / "one", b"1\n", b"3\n")
    other = home_with(tmp_path / "other", b"2\n", b"4\n")
    tidy(one)
    streams = [Stream(str(home.agent_logs("a"))) for home in (one, other)]
    lines = list(merge(select(name, stream, Query())[0] for name, stream in zip("xy", streams, strict=True)))
    assert sorted(line.text for line in lines) == [b"1", b"2", b"3", b"4"]
    assert [line.at_ns for line in lines] == sorted(line.at_ns for line in lines)
    for stream in streams:
        stream.close()
