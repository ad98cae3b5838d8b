"""The manual says what the commands say: man pages without warnings, a reference that is true, examples everywhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from holdfast.cli import manual
from holdfast.cli.main import COMMANDS, SYNONYMS
from holdfast.cli.main import cli as program

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "cli.md"
ENTRIES = manual.entries(program)


def test_the_reference_is_what_the_commands_say() -> None:
    assert REFERENCE.read_text() == manual.reference(ENTRIES), "run: holdfast man --markdown > docs/reference/cli.md"


def test_every_command_is_in_the_manual() -> None:
    assert {entry.name.split()[0] for entry in ENTRIES if entry.name} == set(COMMANDS)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.title)
def test_every_command_has_words_and_examples_of_itself(entry: manual.Entry) -> None:
    assert entry.paragraphs
    group = next(one for one in ENTRIES if one.name == entry.name.rpartition(" ")[0])
    assert any(entry.name in example for example in (*entry.examples, *group.examples))
    assert not any(words == "" for _, words in entry.options), "an option without a word"


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed here")
def test_man_renders_every_page_without_a_warning(tmp_path: Path, cli: Any) -> None:
    assert cli("man", "--write", str(tmp_path / "man1")).code == 0
    pages = sorted((tmp_path / "man1").iterdir())
    assert {page.name for page in pages} == {manual.page_name(entry) for entry in ENTRIES}
    for page in pages:
        # by standard input: as root, man reads files as a user of its own
        asked = ["man", "-l", "--warnings", "-"]
        done = subprocess.run(asked, input=page.read_text(), capture_output=True, text=True, check=False)
        if "not available" in done.stdout + done.stderr or "groff" in done.stderr:
            pytest.skip("man cannot render pages here")
        assert (done.returncode, done.stderr) == (0, "")
        assert "SYNOPSIS" in done.stdout


def test_text_cannot_become_a_request_of_roff() -> None:
    entry = manual.Entry("x", "holdfast x", (".SH evil \\fB -a 'q' \"d\" ▸",), ((".TP", "'w"),), (".nf",), False)
    lines = manual.page([entry], entry).splitlines()
    assert "\\&.SH evil \\efB \\-a \\(aqq\\(aq \\(dqd\\(dq \\[u25B8]" in lines
    assert lines.count(".nf") == 1


def test_one_page_is_printed_and_an_unknown_one_is_a_mistake(cli: Any) -> None:
    assert ".SH EXIT STATUS" in cli("man").out
    assert "holdfast\\-incidents\\-show" in cli("man", "incidents", "show").out
    assert cli("man", "nosuch").code == 2
    assert cli("man", "--write", "/proc/nosuch").code == 2


def test_a_mistyped_command_is_answered_with_what_was_meant(cli: Any) -> None:
    assert "Did you mean 'describe'?" in cli("descrieb", "x").err
    assert "Did you mean 'test'?" in cli("alert", "tset").err
    assert "Did you mean" not in cli("zzzzzz").err
    for word, meant in SYNONYMS.items():
        assert word not in COMMANDS
        assert meant in COMMANDS or meant == "--help"
        assert f"Did you mean '{meant}'?" in cli(word).err


def test_no_command_is_a_surprise_to_the_tree() -> None:
    context = click.Context(program)
    for name in COMMANDS:
        command = program.get_command(context, name)
        assert command is not None
        assert command.name == name
