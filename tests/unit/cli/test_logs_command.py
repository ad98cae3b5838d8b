"""`holdfast logs`: whose lines, which of them, and how they are shown; without any keeper."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from holdfast.cli import main
from holdfast.cli.log_lines import Style
from holdfast.home import Home
from holdfast.logs.index import Index
from holdfast.logs.matcher import Matcher
from holdfast.logs.query import Following, Line, Query
from holdfast.spec.model import AgentSpec, FleetSpec

S = 1_000_000_000
T = 1_700_000_000


def put(home: Home, agent: str, *lines: tuple[int, str]) -> None:
    """One line a record, captured at T + so many seconds."""
    directory = home.agent_logs(agent)
    directory.mkdir(parents=True)
    log = directory / "log"
    log.write_bytes(b"")
    index = Index(f"{log}.idx", log.stat().st_ino)
    for after_s, text in lines:
        index.note((T + after_s) * S, log.stat().st_size)
        with log.open("ab") as file:
            file.write(text.encode() + b"\n")
    os.utime(log, (T + 1000, T + 1000))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    found = Home(tmp_path)
    found.logs.mkdir()
    long = "x" * 70
    put(found, "a", (0, f"a one {long}"), (20, f"a two {long}"), (40, f"a Three {long}"))
    put(found, "b", (10, f"b one {long}"), (30, f"b two {long}"))
    return found


def shown(capfdbinary: pytest.CaptureFixture[bytes], *arguments: str) -> list[str]:
    assert main.run(["logs", *arguments]) == 0
    return [line.replace("x", "").strip() for line in capfdbinary.readouterr().out.decode().splitlines()]


def test_one_agent_has_no_prefix_and_several_are_in_the_order_of_time(
    home: Home, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert shown(capfdbinary, "a", "-n", "2") == ["a two", "a Three"]
    expected = ["a | a one", "b | b one", "a | a two", "b | b two", "a | a Three"]
    assert shown(capfdbinary) == expected
    assert shown(capfdbinary, "a", "-a", "b") == expected


def test_time_pattern_and_context_choose_lines(home: Home, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert shown(capfdbinary, "a", "--since", f"@{T + 15}", "--until", f"@{T + 25}") == ["a one", "a two"]
    assert shown(capfdbinary, "a", "--since", f"@{T + 20}", "--until", f"@{T + 25}") == ["a two"]
    assert shown(capfdbinary, "--grep", "THREE|b two", "-i") == ["b | b two", "a | a Three"]
    assert shown(capfdbinary, "a", "--grep", "two", "-v") == ["a one", "a Three"]
    assert shown(capfdbinary, "a", "--grep", "one", "-C", "1") == ["a one", "a two"]


def test_labels_choose_agents_of_the_fleet_on_disk(home: Home, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    agents = tuple(
        AgentSpec(name=name, command=("x",), working_dir="/", labels={"team": team})
        for name, team in (("a", "red"), ("b", "blue"))
    )
    (home.path / "fleet.json").write_bytes(msgspec.json.encode(FleetSpec(agents=agents)))
    assert shown(capfdbinary, "-l", "team=blue") == ["b | b one", "b | b two"]
    assert shown(capfdbinary, "-l", "team in (red, green)", "--grep", "two") == ["a | a two"]


def test_labels_that_nobody_has_are_said_so(home: Home, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main.run(["logs", "-l", "nope=x"]) == 4
    assert b"HF2014 NoAgentMatches: no agent has labels nope=x" in capfdbinary.readouterr().err


def test_json_has_agent_time_and_line(home: Home, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main.run(["logs", "b", "-n", "1", "--json"]) == 0
    row = json.loads(capfdbinary.readouterr().out)
    assert (row["agent"], row["at"], row["line"][:5]) == ("b", T + 30, "b two")


def test_an_agent_nobody_knows_is_said_to_be_unknown(home: Home, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main.run(["logs", "nobody"]) == 4
    assert main.run(["logs", "../x"]) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "soon"),
        ("--grep", "("),
        ("-v",),
        ("-f", "--until", "1h"),
        ("-l", "=x"),
        ("--holdfast", "--since", "1h"),
        ("--since", "1h", "--until", "2h"),
    ],
)
def test_mistakes_are_told_in_words(
    arguments: tuple[str, ...], home: Home, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main.run(["logs", *arguments]) == 2
    told = capfdbinary.readouterr().err.decode()
    assert told.startswith("HF")
    assert "Traceback" not in told


def test_holdfasts_own_processes_are_shown_too(home: Home, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    home.own_logs.mkdir()
    (home.own_logs / "keeper.log").write_bytes(b"k1\nk2\n")
    (home.own_logs / "logger.log").write_bytes(b"l1\nl2")
    assert shown(capfdbinary, "--holdfast", "-n", "1") == ["keeper | k2", "logger | l1"]
    assert shown(capfdbinary, "--holdfast", "keeper", "--grep", "1") == ["k1"]
    assert main.run(["logs", "--holdfast", "nosuch"]) == 2


def line(text: bytes) -> Line:
    return Line(T * S, "a", text)


NASTY = [
    b"\x1b]52;c;aGFjaw==\x07",
    b"\x1b]0;title\x07",
    b"\x1b[2J\x1b[1;1H",
    b"\x1b[1A\x1b[2K forged",
    b"\xc2\x9b31m",
    b"\x9b2J",
    "\u202egnp.exe\u2066".encode(),
    b"a\rb",
    b"\x08\x08\x00",
    b"\x1bP+q544e\x1b\\",
    b'{"msg":"\\u001b]0;x\\u0007","\\u001b[2J":"\\u202e","level":"\\u001b[31m"}',
]


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("raw", [True, False])
def test_nothing_an_agent_prints_steers_a_terminal(nasty: bytes, terminal: bool, raw: bool) -> None:
    text = Style(agents=("a",), terminal=terminal, raw=raw).shown(line(nasty))
    if raw and not terminal:
        assert text == nasty + b"\n"
        return
    decoded = text.decode()
    assert decoded.endswith("\n")
    assert decoded[:-1].isprintable(), decoded


def test_lines_of_json_are_shown_as_words_on_a_terminal_and_untouched_elsewhere() -> None:
    text = b'{"time":"12:00","level":30,"msg":"did it","n":5,"who":"a b","deep":{"x":[1]}}'
    terminal = Style(agents=("a",), terminal=True)
    assert terminal.shown(line(text)) == b'info did it time=12:00 n=5 who="a b" deep={"x": [1]}\n'
    assert Style(agents=("a",)).shown(line(text)) == text + b"\n"
    assert terminal.shown(line(b"{not json")) == b"{not json\n"
    assert terminal.shown(line(b"[" * 10_000)) == b"[" * 10_000 + b"\n"
    deep = b'{"a":' * 5000
    assert terminal.shown(line(deep)) == deep + b"\n"


def test_times_prefixes_and_colours() -> None:
    style = Style(agents=("a", "bob"), terminal=True, colours=True, timestamps=True, utc=True)
    assert style.shown(line(b"x")) == b"2023-11-14T22:13:20Z \x1b[36ma   |\x1b[0m x\n"
    plain = Style(agents=("a",), many=True)
    assert plain.shown(line(b"\xff caf\xc3\xa9")) == "a | \\xff café\n".encode()


def test_followed_lines_are_chosen_like_those_that_are_there() -> None:
    following = Following("a", Query(matcher=Matcher("hit"), context=1))
    lines = [b"0", b"1", b"hit 2", b"3", b"4", b"5", b"hit 6", b"hit 7"]
    found = [one for text in lines for one in following.feed([text], 5)]
    assert [one.text for one in found] == [b"1", b"hit 2", b"3", b"5", b"hit 6", b"hit 7"]
    assert [one.gap for one in found] == [True, False, False, True, False, False]
