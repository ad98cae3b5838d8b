"""What was seen of an agent: bounded, aged, and a mark that is neither below nor far above what was read."""

from __future__ import annotations

import random

import msgspec
import pytest

from holdfast import limits
from holdfast.density import history
from holdfast.density.history import History
from holdfast.density.model import MB


def fed(*readings: tuple[int, float], idle: bool = False, before: History | None = None) -> History:
    found = before or History()
    for used_bytes, cores in readings:
        found = history.add(found, used_bytes, cores, 15.0, idle=idle)
    return found


def test_of_nothing_seen_nothing_is_claimed() -> None:
    assert (History().mark_bytes, History().readings, History().cpu, History().worked) == (0, 0, 0.0, False)


@pytest.mark.parametrize("used", [1, 4096, MB, 100 * MB, 1_234_567_890, 1 << 42])
def test_a_mark_is_at_most_a_step_above_what_was_read(used: int) -> None:
    mark = fed(*[(used, 1.0)] * 20).mark_bytes
    assert used <= mark <= max(MB, used * 1.1)


def test_it_is_judged_by_its_work_and_not_by_its_waiting() -> None:
    waiting = fed(*[(50 * MB, 0.0)] * 1000)
    assert 50 * MB <= waiting.mark_bytes < 56 * MB
    assert not waiting.worked
    works = fed(*[(400 * MB, 0.5)] * limits.HISTORY_READINGS_MIN, before=waiting)
    assert works.worked
    assert 400 * MB <= works.mark_bytes < 440 * MB


def test_who_says_that_it_is_idle_does_not_work_whatever_it_burns() -> None:
    assert not fed(*[(10 * MB, 1.0)] * 100, idle=True).worked


def test_one_reading_in_twenty_does_not_count_two_do() -> None:
    rare = fed(*[(100 * MB, 1.0)] * 95, *[(900 * MB, 1.0)] * 5)
    assert rare.mark_bytes < 110 * MB
    assert fed((900 * MB, 1.0), before=rare).mark_bytes >= 900 * MB


def test_it_stays_small_and_follows_what_the_agent_became() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    drawn = random.Random(seed)
    old = fed(*[(drawn.randrange(1, 1 << 36), drawn.random()) for _ in range(3 * limits.HISTORY_READINGS_MAX)])
    assert old.readings <= limits.HISTORY_READINGS_MAX
    assert len(msgspec.json.encode(old)) < 6_000
    new = fed(*[(20 * MB, 0.5)] * (3 * limits.HISTORY_READINGS_MAX), before=old)
    assert new.mark_bytes < 22 * MB


def test_cpu_is_the_average_and_unknown_cpu_is_left_out() -> None:
    known = fed((MB, 0.2), (MB, 0.4))
    assert known.cpu == pytest.approx(0.3)
    assert history.add(known, MB, None, 15.0, idle=False).cpu == pytest.approx(0.3)


def test_agents_of_one_kind_are_known_together() -> None:
    both = history.merged((fed(*[(100 * MB, 1.0)] * 50), fed(*[(300 * MB, 1.0)] * 50)))
    assert both.readings == 100
    assert 300 * MB <= both.mark_bytes < 330 * MB


def test_it_is_kept_as_json_and_read_again() -> None:
    known = fed(*[(100 * MB, 1.0)] * 5, *[(MB, 0.0)] * 5)
    assert msgspec.json.decode(msgspec.json.encode(known), type=History) == known
