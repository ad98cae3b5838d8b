"""why and next: a table of scenes."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.healing.model import Ladder, Phase, Policy, Tier
from holdfast.keeper.telling import words
from holdfast.keeper.telling.words import Scene

NOW = 10_000.0
RUNNING: dict[str, Any] = {"running": True, "gate_passed": True, "started_mono": NOW - 60, "good_since_mono": NOW - 60}


def scene(phase: Phase, more: dict[str, Any] | None = None, **ladder: Any) -> Scene:
    return Scene(name="one", ladder=Ladder(phase=phase, **ladder), policy=Policy(), now=NOW, **(more or {}))


TABLE = [
    (scene(Phase.QUEUED), "waits for a start slot", "starts as soon as a slot is free"),
    (scene(Phase.STARTING), "is being started", "its process is awaited"),
    (
        scene(Phase.STARTING, {"detail": "HTTP 503"}, running=True, started_mono=NOW - 12, deadline_mono=NOW + 18),
        "starting for 12 s: HTTP 503",
        "must be ready in 18 s, else restart at once",
    ),
    (
        scene(Phase.HEALTHY, {"asked": True}, running=True, good_since_mono=NOW - 10_920),
        "healthy for 3 h 2 min",
        "if it fails: restart at once",
    ),
    (
        scene(Phase.HEALTHY, {"asked": True, "doubtful": True, "detail": "no answer in 0.5 s"}, **RUNNING),
        "healthy for 1 min; last check: no answer in 0.5 s",
        "if it fails: restart at once",
    ),
    (
        scene(Phase.HEALTHY, restarts_mono=(NOW - 5,), **RUNNING),
        "running for 1 min",
        "if it fails: restart after 10 s",
    ),
    (
        scene(Phase.DEGRADED, degraded="no quota", **RUNNING),
        "works less well (no quota)",
        "if it fails: restart at once",
    ),
    (
        scene(
            Phase.BACKOFF,
            {"exit": "exit 1: bad key"},
            cause="exited with 1",
            incident=1,
            tier=Tier.RESTART,
            pending=Tier.RESTART,
            restarts_mono=(NOW - 20, NOW - 10),
            due_mono=NOW + 42,
        ),
        "failed 3 times in a row: died (exit 1: bad key)",
        "restart in 42 s (tier 1, try 3 of 3)",
    ),
    (
        scene(Phase.BACKOFF, cause="exited with 1", incident=1, pending=Tier.RESTART, by_init=True, due_mono=NOW + 5),
        "exited with 1",
        "restart any moment, by init (tier 1, try 1 of 3)",
    ),
    (
        scene(Phase.BACKOFF, cause="exited with 1", incident=1, pending=Tier.RESTART, by_init=True, due_mono=NOW + 63),
        "exited with 1",
        "restart in 58 s, by init (tier 1, try 1 of 3)",
    ),
    (
        scene(Phase.RECOVERING, cause="did not answer in time", incident=1, pending=Tier.RECREATE, tier=Tier.RECREATE),
        "did not answer in time",
        "new place and restart is under way (tier 2)",
    ),
    (
        scene(
            Phase.RECOVERING,
            cause="was killed by SIGKILL",
            incident=1,
            tier=Tier.RESTART,
            running=True,
            good_since_mono=NOW - 12,
            due_mono=NOW + 48,
        ),
        "back and good for 12 s after it was killed by SIGKILL",
        "counts as recovered in 48 s",
    ),
    (
        scene(
            Phase.RECOVERING,
            cause="its state is damaged: /srv/a.json (JSON is malformed)",
            incident=1,
            tier=Tier.RESTORE,
            running=True,
            good_since_mono=NOW - 12,
            due_mono=NOW + 48,
        ),
        "back and good for 12 s after it was found with damaged state: /srv/a.json (JSON is malformed)",
        "counts as recovered in 48 s",
    ),
    (
        scene(
            Phase.ESCALATED,
            cause="exited with 78",
            incident=1,
            tier=Tier.ALERT,
            alerted=True,
            next_try_mono=NOW + 720,
            due_mono=NOW + 720,
        ),
        "could not be healed: exited with 78",
        "quiet try in 12 min; a person was told",
    ),
    (
        scene(
            Phase.ESCALATED,
            {"heard": False, "taken": "port 80 is held by process 7 (x), not by the agent"},
            cause="did not pass its start gate in time: its port is taken by another process",
            incident=1,
            tier=Tier.ALERT,
            alerted=True,
            due_mono=NOW + 720,
        ),
        "could not be healed: did not pass its start gate in time: port 80 is held by process 7 (x), not by the agent",
        "quiet try in 12 min; nobody was told: no alert channel",
    ),
    (
        scene(Phase.SHED, aside="shed", aside_text="went for big, which needs 200 MB more"),
        "went for big, which needs 200 MB more",
        "comes back by itself when there is room",
    ),
    (scene(Phase.HIBERNATING, aside="hibernating"), "sleeps: it had nothing to do", "is woken by what needs it"),
    (
        scene(Phase.SPARE, aside="spare"),
        "is a replica that is not needed now",
        "starts when more replicas are needed",
    ),
    (
        scene(Phase.STOPPING, aside="shed", aside_text="went for big"),
        "is being stopped (went for big)",
        "comes back by itself when there is room",
    ),
    (
        scene(Phase.STOPPING, aside_mono=NOW),
        "was called back while it was being stopped",
        "starts again when it is down",
    ),
    (scene(Phase.STOPPING, wanted=False), "is being stopped on request", "is killed if it outlives its grace"),
    (scene(Phase.STOPPING), "is restarted on request", "starts again when it is down"),
    (scene(Phase.STOPPED, wanted=False), "was stopped on request", "stays down until `holdfast start one`"),
    (scene(Phase.FINISHED, wanted=False), "did its job and ended with 0", "stays down until `holdfast start one`"),
]


@pytest.mark.parametrize(("seen", "why", "then"), TABLE, ids=[f"{row[0].ladder.phase}-{row[1][:20]}" for row in TABLE])
def test_each_scene_is_told_in_one_sentence_each(seen: Scene, why: str, then: str) -> None:
    assert words.why(seen) == why
    assert words.next_step(seen) == then


@pytest.mark.parametrize("phase", list(Phase))
def test_no_phase_is_without_words(phase: Phase) -> None:
    assert words.why(scene(phase))
    assert isinstance(words.next_step(scene(phase)), str)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.44, "0.4 s"),
     (9.96, "10 s"), (42, "42 s"), (60, "1 min"), (303, "5 min 3 s"), (10_920, "3 h 2 min"),
     (187_200, "2 d 4 h"), (-3, "0 s")],
)  # fmt: skip
def test_spans_are_told_in_their_two_largest_units(seconds: float, said: str) -> None:
    assert words.span(seconds) == said
