"""Patterns of what is left out, as in .gitignore."""

from __future__ import annotations

import pytest

from holdfast.state.capture.exclude import BadPattern, Exclusion


@pytest.mark.parametrize(
    ("patterns", "path", "directory", "out"),
    [
        ("cache/", "cache", True, True),
        ("cache/", "cache", False, False),
        ("cache/", "a/b/cache", True, True),
        ("cache/", "mycache", True, False),
        ("*.log", "a.log", False, True),
        ("*.log", "deep/down/a.log", False, True),
        ("*.log", "a.log.1", False, False),
        ("/top", "top", False, True),
        ("/top", "a/top", False, False),
        ("a/b", "a/b", False, True),
        ("a/b", "x/a/b", False, False),
        ("a/**/b", "a/b", False, True),
        ("a/**/b", "a/x/y/b", False, True),
        ("a/**/b", "ab", False, False),
        ("**/b", "x/y/b", False, True),
        ("a/**", "a/x/y", False, True),
        ("a/**", "a", True, False),
        ("?.txt", "a.txt", False, True),
        ("?.txt", "é.txt", False, True),
        ("?.txt", "ab.txt", False, False),
        ("[ab].txt", "a.txt", False, True),
        ("[!ab].txt", "a.txt", False, False),
        ("[!ab].txt", "c.txt", False, True),
        ("[0-9]*", "7up", False, True),
        ("[é].txt", "é.txt", False, True),
        ("[", "[", False, True),
        (r"\*", "*", False, True),
        (r"\*", "a", False, False),
        (r"\#a", "#a", False, True),
        ("# remark|a ", "a", False, True),
        ("*.log|!keep.log", "keep.log", False, False),
        ("*.log|!keep.log", "x/keep.log", False, False),
        ("*.log|!keep.log|keep.log", "keep.log", False, True),
        ("!keep.log|*.log", "keep.log", False, True),
        ("./a", "a", False, True),
        ("./a", "b/a", False, False),
        ("a.b", "axb", False, False),
        ("*", "a/b", False, True),
        ("über", "über", False, True),
    ],
)
def test_a_pattern_means_what_it_means_in_gitignore(patterns: str, path: str, directory: bool, out: bool) -> None:
    assert Exclusion(patterns.split("|")).leaves_out(path.encode(), directory=directory) is out


def test_a_name_that_is_not_utf_8_can_be_left_out_and_kept() -> None:
    exclusion = Exclusion(["*.tmp"])
    assert exclusion.leaves_out(b"\xff\n.tmp", directory=False)
    assert not exclusion.leaves_out(b"\xff", directory=False)


@pytest.mark.parametrize("bad", ["/", "../x", "a/../b", "!", "[z-a]", "a\\"])
def test_a_pattern_that_names_nothing_is_refused_with_its_text(bad: str) -> None:
    with pytest.raises(BadPattern) as caught:
        Exclusion([bad])
    assert bad.rstrip("!") in str(caught.value)


def test_no_patterns_leave_out_nothing() -> None:
    assert not Exclusion(["", "# only a remark"])
    assert not Exclusion([]).leaves_out(b"a", directory=True)
