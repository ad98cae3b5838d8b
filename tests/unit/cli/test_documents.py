"""The documents agree with the code: runbooks, links, examples, words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.cli.explain import in_words
from holdfast.errors import CATALOGUE
from holdfast.recipes import load

ROOT = Path(__file__).resolve().parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
# Mistakes in what was typed, answered at once: the message itself is the runbook.
NEED_NO_RUNBOOK = {"HF2001", "HF2011", "HF2012", "HF2014", "HF2015", "HF2020", "HF2021", "HF2022", "HF3008"} | {
    f"HF205{n}" for n in range(6)
}
NEED_RUNBOOK = sorted(code for code in CATALOGUE if not code.startswith("HF1") and code not in NEED_NO_RUNBOOK)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("code", NEED_RUNBOOK)
def test_every_code_that_can_reach_a_person_has_a_runbook(code: str) -> None:
    text = (RUNBOOKS / f"{code}.md").read_text()
    assert text.startswith(f"# {code} {CATALOGUE[code].name}\n")
    for heading in ("Meaning", "Impact", "Diagnosis", "Mitigation"):
        section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
        assert len(section.strip()) > 4, heading


@pytest.mark.parametrize("code", NEED_RUNBOOK)
def test_runbooks_quote_the_message_as_it_is(code: str) -> None:
    assert f"> {in_words(CATALOGUE[code].summary)}\n" in (RUNBOOKS / f"{code}.md").read_text()


def test_no_runbook_is_about_a_code_that_does_not_exist() -> None:
    assert {path.stem for path in RUNBOOKS.glob("HF*.md")} <= set(CATALOGUE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_commands_named_in_documents_exist() -> None:
    from holdfast.cli.main import COMMANDS

    named = {
        match[1]
        for document in DOCUMENTS
        if document.parent.name != "formats"  # domain strings of hashes, no commands
        for match in re.finditer(r"`(?:\.venv/bin/)?holdfast (?:--home \S+ )?([a-z]+)", document.read_text())
    }
    assert named <= set(COMMANDS)


def test_the_example_fleet_is_well_written() -> None:
    fleet = load(ROOT / "examples" / "fleet.yaml")
    assert 3 <= len(fleet.agents) <= 5
    assert any(agent.health.http for agent in fleet.agents)


def test_the_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "./dev demo" in text
    assert "./dev test" in text
