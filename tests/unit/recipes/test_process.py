"""Exits in words for any program, and the registry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import recipes
from holdfast.recipes.exits import EXIT_WORDS_MAX_CHARS
from holdfast.spec.model import AgentSpec

AGENT = AgentSpec(name="a", command=("x",), working_dir="/", exit_codes={"3": "out of work", "SIGUSR1": "told to go"})


def test_the_registry_knows_its_recipes_and_takes_unknown_ones_for_a_process() -> None:
    assert set(recipes.names()) == {"process", "python", "node", "container", "openclaw", "hermes"}
    assert recipes.find("openclaw").name == "openclaw"
    assert recipes.find("of a later version").name == "process"


@pytest.mark.parametrize(
    ("code", "signal", "words"),
    [
        (0, None, "exit 0: ended by itself"),
        (1, None, "exit 1: ended with a general error"),
        (3, None, "exit 3: out of work"),
        (42, None, "exit 42: ended with an error of its own"),
        (127, None, "exit 127: the command was not found"),
        (137, None, "exit 137: its program reports SIGKILL"),
        (None, 9, "SIGKILL: killed by hand, or by the kernel when memory ran out"),
        (None, 10, "SIGUSR1: told to go"),
        (None, 12, "SIGUSR2: ended by SIGUSR2"),
        (None, 63, "signal 63: ended by signal 63"),
        (None, None, "ended while nobody could see its exit code"),
    ],
)
def test_exits_are_told_in_words(code: int | None, signal: int | None, words: str) -> None:
    assert recipes.find("process").explain_exit(AGENT, code, signal, []) == words


def test_the_last_exception_printed_is_quoted_without_secrets() -> None:
    lines = [
        "KeyError: 'old'",
        "Traceback (most recent call last):",
        "app.errors.AuthError: API_KEY=geheim refused",
        "bye",
    ]
    words = recipes.find("process").explain_exit(AGENT, 1, None, lines)
    assert words == "exit 1: ended with a general error (app.errors.AuthError: API_KEY=***)"


@given(st.none() | st.integers(0, 255), st.none() | st.integers(1, 64), st.lists(st.text(), max_size=5))
def test_any_exit_gives_one_short_printable_clause(code: int | None, signal: int | None, lines: list[str]) -> None:
    for name in recipes.names():
        words = recipes.find(name).explain_exit(AGENT, code, signal, lines)
        assert words
        assert words.isprintable()
        assert len(words) <= EXIT_WORDS_MAX_CHARS


def test_a_launch_is_what_the_spec_says() -> None:
    facts = recipes.PodFacts(home_dir="/h", tmpdir="/t")
    for name in set(recipes.names()) - {"container"}:  # which is started through its engine
        launch = recipes.find(name).prepare(AGENT, facts)
        assert launch.argv == ("x",)
        assert launch.env == {}
