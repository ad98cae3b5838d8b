"""The table of phases, and the document made from it."""

from __future__ import annotations

from pathlib import Path

from holdfast.healing.model import Phase
from holdfast.healing.table import MEANING, TRANSITIONS, renewed

DOCUMENT = Path(__file__).parents[3] / "docs" / "concepts" / "ladder.md"


def test_the_document_is_what_the_table_says() -> None:
    text = DOCUMENT.read_text()
    assert renewed(text) == text, "run: python -m holdfast.healing.table docs/concepts/ladder.md"


def test_every_phase_is_explained_can_be_left_and_be_reached() -> None:
    assert set(MEANING) == set(TRANSITIONS) == set(Phase)
    reached = {new for following in TRANSITIONS.values() for new in following}
    assert all(TRANSITIONS.values())
    assert reached == set(Phase)


def test_only_the_last_tier_needs_a_person() -> None:
    assert [phase for phase, (_, human) in MEANING.items() if human] == [Phase.ESCALATED]
