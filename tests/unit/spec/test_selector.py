"""Label selectors choose what they say, and wrong ones say why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.spec import selector

TEAM_A = {"team": "a", "tier": "1"}


@pytest.mark.parametrize(
    ("text", "labels", "chosen"),
    [
        ("team=a", TEAM_A, True),
        ("team == a", TEAM_A, True),
        ("team=b", TEAM_A, False),
        ("team=a", {}, False),
        ("team!=a", TEAM_A, False),
        ("team!=b", TEAM_A, True),
        ("team!=a", {}, True),
        ("team in (a, b)", TEAM_A, True),
        ("team in(b)", TEAM_A, False),
        ("team in (a)", {}, False),
        ("team notin (a,b)", TEAM_A, False),
        ("team notin (b)", {}, True),
        ("team", TEAM_A, True),
        ("team", {"team": ""}, True),
        ("in", {"in": "x"}, True),
        ("!team", TEAM_A, False),
        ("! team", {}, True),
        ("team=a,tier=1", TEAM_A, True),
        ("team=a, tier=2", TEAM_A, False),
        ("team in (a,b), !x ,tier!=2", TEAM_A, True),
        ("team=", {"team": ""}, True),
        ("team=", TEAM_A, False),
        ("app.kubernetes.io/name=web-1", {"app.kubernetes.io/name": "web-1"}, True),
    ],
)
def test_a_selector_chooses_what_it_says(text: str, labels: dict[str, str], chosen: bool) -> None:
    assert selector.matches(text, labels) is chosen
    assert selector.parse(text).matches(labels) is chosen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the selector is empty"),
        ("  ", "the selector is empty"),
        ("team=a,", "nothing stands between two commas"),
        (",team", "nothing stands between two commas"),
        ("team in (a", "a parenthesis is not closed"),
        ("team in ()", "found nothing where a value is expected"),
        ("team in (a,,b)", "found nothing where a value is expected"),
        ("team in (a=b)", "found 'a=b' where a value is expected"),
        ("team a", "'team a' is no selector; the forms are team=x"),
        ("=a", "'=a' is no selector"),
        ("team=a=b", "'team=a=b' is no selector"),
        ("!team=a", "'!team=a' is no selector"),
        ("team>1,x", None),
        ("a" * 5000, "longer than 4096"),
    ],
)
def test_a_wrong_selector_says_what_is_wrong(text: str, said: str | None) -> None:
    if said is None:
        assert selector.parse(text).terms[0].key == "team>1"
        return
    with pytest.raises(ValueError) as caught:
        selector.parse(text)
    assert said in str(caught.value)


@given(st.text(max_size=80))
def test_any_text_gives_a_selector_or_one_line_of_words(text: str) -> None:
    try:
        found = selector.parse(text)
    except ValueError as error:
        words = str(error)
    else:
        words = repr(found.matches({"team": "a"}))
    assert words.isprintable()
