"""Nothing that looks like a key leaves the collector, and ordinary words stay readable."""

from __future__ import annotations

import pytest

from holdfast.evidence import secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-abcdefghij123456 used", "key *** used"),
        ("sk-ant-api03-AbC_dEf-123456789", "***"),
        ("Authorization: Bearer abc.def-ghi_123", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic ***"),
        ("AKIAIOSFODNN7EXAMPLE is mine", "*** is mine"),
        ("push with ghp_0123456789abcdefABCDEF now", "push with *** now"),
        ("github_pat_11ABCDEFG0123456789", "***"),
        ("xoxb-123456789012-abcdef", "***"),
        ("AIzaSyA-1234567890abcdefghijklmnop", "***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF", "***"),
        ("password=hunter2 next", "password=*** next"),
        ("PASSWORD: 'hun ter2' next", "PASSWORD: *** next"),
        ('{"api_key": "abc", "model": "x"}', '{"api_key": ***, "model": "x"}'),
        ("--api-key=abc --model=x", "--api-key=*** --model=x"),
        ("postgresql://bob:pw@db:5432/x", "postgresql://***@db:5432/x"),
        ("https://token@host/path", "https://***@host/path"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- rest", "*** rest"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "***"),
        ("KeyError: 'name'", "KeyError: 'name'"),
        ("max_tokens=4096", "max_tokens=4096"),
        ("at stuck_here (agent.py:12)", "at stuck_here (agent.py:12)"),
        ("http://127.0.0.1:8080/health", "http://127.0.0.1:8080/health"),
        ("risk-free and task-oriented", "risk-free and task-oriented"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, shown: str) -> None:
    assert secrets.mask(text) == shown


def test_known_values_are_masked_wherever_they_stand() -> None:
    assert secrets.mask("it said opensesame twice: opensesame", ["opensesame", "x"]) == "it said *** twice: ***"


def test_the_word_behind_a_secret_option_is_masked() -> None:
    words = ["agent", "--token", "abc", "-p", "pw", "--model", "big", "--db", "redis://u:p@h/0"]
    assert secrets.mask_command(words) == [
        "agent", "--token", "***", "-p", "***", "--model", "big", "--db", "redis://***@h/0"
    ]  # fmt: skip


def test_a_private_key_printed_over_many_lines_is_one_secret() -> None:
    lines = ["before", "key: -----BEGIN PRIVATE KEY-----", "MIIEvQ", "-----END PRIVATE KEY-----", "after"]
    assert secrets.mask_lines(lines) == ["before", "key: ***", "***", "***", "after"]


def test_every_text_of_a_structure_is_masked() -> None:
    assert secrets.mask_all({"a": ["sk-abcdefghij", 1], "b": {"c": "Bearer abcdefgh"}}) == {
        "a": ["***", 1],
        "b": {"c": "Bearer ***"},
    }
