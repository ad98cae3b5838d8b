"""decide is total: any observation, however wrong, in any phase."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from holdfast.healing import actions
from holdfast.healing import model as m
from holdfast.healing.model import Phase, Policy, Tier
from holdfast.healing.triage import decide, permit
from holdfast.health.model import Verdict

STEPS = 4_000


def anything(random: Random, now: float) -> m.Observation:
    """Numbers out of any order, on purpose."""
    n = random.randint(0, 12)
    choices: list[Any] = [
        m.Spawned(instance=n, cause=random.choice(("start", "permit", "restart", "adopted"))),
        m.Exited(instance=n, code=random.choice((None, 0, 1)), signal=random.choice((None, 9)), expected=n % 2 == 0),
        m.SpawnFailed(reason="x", instance=n),
        m.SpawnFailed(reason="x"),
        m.GatePassed(instance=n),
        m.StartProgressed(instance=n, until_mono=now + 9),
        m.Checked(instance=n, verdict=random.choice(list(Verdict))),
        m.Behaved(instance=n, failing=n % 2 == 0, cause="x", sources=("beat",) if n % 2 == 0 else ()),
        m.StateDamaged(instance=n, cause="state.db is malformed"),
        m.Degraded(text=random.choice(("", "slow model"))),
        m.Starved(on=n % 2 == 0),
        m.Commanded(what=random.choice(("start", "stop", "restart"))),
        m.Swept(instance=n),
        m.Down(reason=random.choice(("stopped", "finished")), instance=n),
        m.Asked(instance=n),
        m.Timer(),
        m.Timer(),
        m.Adopted(instance=n, running=n % 2 == 0),
        m.NodeBooted(instance=n, finished=n % 2 == 0),
        m.SlotGranted(),
    ]
    return choices[random.randrange(len(choices))]  # type: ignore[no-any-return]


@pytest.mark.parametrize("seed", range(12))
def test_any_observation_in_any_phase_has_an_answer_that_is_never_silent(seed: int) -> None:
    random = Random(seed)
    policy = Policy(
        once=seed % 3 == 0, has_gate=seed % 2 == 0, restore_available=seed % 5 == 0, spacing_s=seed % 4 * 30
    )
    state, now = m.Ladder(instance=random.randint(0, 3)), 1000.0
    for _ in range(STEPS):
        now += random.choice((0.0, 0.1, 5.0, 70.0, 1000.0))
        seen = anything(random, now)
        before = state
        state, acts = decide(before, seen, policy, now, 0.5)
        assert decide(before, seen, policy, now, 0.5) == (state, acts)
        permit(state, policy, now, 0.5)
        assert msgspec.json.decode(msgspec.json.encode(state), type=m.Ladder) == state
        assert msgspec.json.decode(msgspec.json.encode(acts), type=tuple[actions.Action, ...]) == acts
        assert msgspec.json.decode(msgspec.json.encode(seen), type=m.Observation) == seen
        if state.wanted and not state.running and state is not before:
            assert state.due_mono is not None or state.phase is Phase.QUEUED, (before, seen)
        assert (state.phase is Phase.ESCALATED) <= (state.tier is Tier.ALERT)
        assert len(state.restarts_mono) <= len(policy.backoff_s)
