"""Nothing an agent says can steer the terminal of the person who looks."""

from __future__ import annotations

import random

import pytest

from holdfast.printable import columns, cut, log_line, one_line, pad

ONE_LINE = {
    "busy with a task": "busy with a task",
    "\x1b[31mred\x1b[0m": "red",
    "\x1b]0;owned\x07title": "title",
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link",
    "\x1b[2Jgone\x1b[H": "gone",
    "\x9b31mc1\x9b0m": "c1",
    "one\ntwo\r\nthree": "one two three",
    "a\u202eb": "a b",
    "a\u2028b\u00a0c": "a b c",
    "bell\x07": "bell",
    "half \x1b": "half",
    "never ends \x1b]0;title": "never ends",
    "\ud800lone": "lone",
    "täglich 日本": "täglich 日本",
    "": "",
}
LOG_LINE = {
    "plain\n": "plain",
    "\x1b[1;31merror\x1b[0m here\r\n": "error here",
    "a\tb": "a\tb",
    "\x1b[2Jwiped": "\\x1b[2Jwiped",
    "forged\rline": "forged\\x0dline",
    "right \u202e left": "right \\u202e left",
    "\ufffd": "\ufffd",
}


@pytest.mark.parametrize("given", ONE_LINE)
def test_a_cell_holds_neither_escape_codes_nor_line_ends(given: str) -> None:
    assert one_line(given) == ONE_LINE[given]


@pytest.mark.parametrize("given", LOG_LINE)
def test_a_log_line_loses_its_colours_and_shows_all_else_it_hides(given: str) -> None:
    assert log_line(given) == LOG_LINE[given]


def test_whatever_goes_in_only_printable_text_comes_out() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    pieces = [
        "\x1b",
        "[",
        "]",
        "0",
        ";",
        "m",
        "\x07",
        "\x9b",
        "\x9d",
        "\\",
        "a",
        "\n",
        "\t",
        "\u202e",
        "\U000e0001",
        "日",
    ]
    for _ in range(2000):
        text = "".join(draw.choice(pieces) for _ in range(draw.randrange(20)))
        assert one_line(text).isprintable(), repr(text)
        assert log_line(text).replace("\t", "").isprintable(), repr(text)


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("ab", 0, ""),
        ("ab", 1, "…"),
    ],
)
def test_a_cut_text_takes_no_more_columns_than_allowed(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected
    assert columns(cut(text, width)) <= width


def test_wide_and_combining_characters_are_counted_as_the_terminal_does() -> None:
    assert columns("日本") == 4
    assert columns("e\u0301") == 1
    assert pad("日", 4) == "日  "
    assert pad("7", 3, right=True) == "  7"
