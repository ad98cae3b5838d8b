"""What is said of a death for memory."""

from __future__ import annotations

import pytest

from holdfast.incidents.facts import MemoryFacts
from holdfast.incidents.memory_death import words

MB = 1_000_000
LEAK = tuple((1000.0 + 2 * n, (300 + 6 * n) * MB) for n in range(34))  # 3 MB/s, the last reading at 1066


@pytest.mark.parametrize(
    ("facts", "died_at", "said"),
    [
        (
            MemoryFacts(limit_bytes=512 * MB, curve=LEAK),
            1068.5,
            "512 MB limit, 498 MB 2.5 s before, growing 3 MB/s",
        ),
        (
            MemoryFacts(limit_bytes=512 * MB, curve=tuple((1000.0 + n, 90 * MB) for n in range(9))),
            1009.0,
            "512 MB limit, 90 MB 1.0 s before, not growing then",
        ),
        (MemoryFacts(limit_bytes=512 * MB, curve=LEAK, peak_bytes=511 * MB), 2000.0, "512 MB limit, peak 511 MB"),
        (MemoryFacts(curve=LEAK[:1]), 1012.0, "300 MB 12 s before"),
        (MemoryFacts(lease_bytes=120 * MB, curve=LEAK[:1]), 1012.0, "its lease of 120 MB, 300 MB 12 s before"),
        (MemoryFacts(), 1000.0, ""),
    ],
    ids=["a leak", "a jump", "no reading near", "no limit, one reading", "a lease", "nothing known"],
)
def test_a_death_for_memory_is_told_in_the_numbers_that_were_read(
    facts: MemoryFacts, died_at: float, said: str
) -> None:
    assert words(facts, died_at) == said


def test_a_collection_in_between_begins_the_growth_anew() -> None:
    falls = ((1000.0, 400 * MB), (1002.0, 100 * MB), (1004.0, 120 * MB), (1006.0, 140 * MB))
    assert words(MemoryFacts(curve=falls), 1007.0).endswith("growing 10 MB/s")
