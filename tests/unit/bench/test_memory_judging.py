"""What Holdfast did in a run of the memory scenarios, from made-up records and counts."""

from typing import Any

import pytest
from bench.memory import judging
from bench.memory.watching import Watch

GROWING = ["s0", "s1", "s2"]


def watch(**seen: list[tuple[float, int]]) -> Watch:
    made = Watch(GROWING, dict)
    made.seen = {name: seen.get(name, [(0.0, 3)]) for name in GROWING}
    return made


def shed(seq: int, agent: str, mono: float) -> dict[str, Any]:
    body = {"shed": {"reason": "it needs more"}}
    return {"seq": seq, "kind": "density.shed", "agent": agent, "mono": mono, "body": body, "text": ""}


def test_those_who_go_in_order_and_whole_and_come_back_are_judged_so() -> None:
    seen = watch(s0=[(0.0, 3), (1.1, 0), (4.0, 1)], s1=[(0.0, 3), (2.0, 2), (2.1, 0), (12.5, 1)])
    found = judging.judge([shed(1, "s0", 1.0), shed(2, "s1", 1.9)], seen, GROWING, over_mono=10.0)
    assert found["victims"] == ["s0", "s1"]
    assert [found[key] for key in ("in_order", "whole", "all_back")] == [True] * 3
    assert found["gone_s"] == 0.2
    assert found["back_s"] == 2.5, "room was when the others' spike was over"
    assert found["reasons"] == ["it needs more"]


@pytest.mark.parametrize(
    ("records", "seen", "key"),
    [
        ([shed(1, "s1", 1.0)], watch(s1=[(0.0, 3), (1.1, 0), (4.0, 1)]), "in_order"),
        ([shed(1, "s0", 1.0)], watch(s0=[(0.0, 3), (1.1, 2), (2.3, 0), (4.0, 1)]), "whole"),
        ([shed(1, "s0", 1.0)], watch(), "whole"),
        ([shed(1, "s0", 1.0)], watch(s0=[(0.0, 3), (1.1, 0)]), "all_back"),
    ],
)
def test_what_went_wrong_is_seen(records: list[dict[str, Any]], seen: Watch, key: str) -> None:
    assert judging.judge(records, seen, GROWING, over_mono=10.0)[key] is False


def test_a_less_important_one_that_is_dying_does_not_spoil_the_order() -> None:
    seen = watch(s0=[(0.0, 3), (1.5, 0), (4.0, 1)], s1=[(0.0, 3), (1.6, 0), (4.0, 1)])
    assert judging.judge([shed(1, "s0", 1.0), shed(2, "s1", 1.2)], seen, GROWING, over_mono=3.0)["in_order"]


def test_one_that_came_back_is_less_important_again() -> None:
    seen = watch(s0=[(0.0, 3), (1.1, 0), (2.0, 1)], s1=[(0.0, 3), (3.1, 0), (4.0, 1)])
    assert not judging.judge([shed(1, "s0", 1.0), shed(2, "s1", 3.0)], seen, GROWING, over_mono=3.0)["in_order"]
