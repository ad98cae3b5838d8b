"""Incidents and their post-mortems."""

from __future__ import annotations

import json
import os
from pathlib import Path

from holdfast import limits
from holdfast.incidents import files, model, render, report
from holdfast.incidents.facts import Facts
from holdfast.incidents.model import Incident, Outcome


def make(**changes: object) -> Incident:
    base: dict[str, object] = {
        "id": "20261121-0a1b2c3d",
        "agent": "scout",
        "number": 1,
        "cause": "crashed (exit 1: bad key)",
        "opened_at": 1_700_000_000.25,
    }
    return Incident(**{**base, **changes})  # type: ignore[arg-type]


def test_the_id_is_the_date_and_the_same_each_time() -> None:
    first = model.incident_id("home", "scout", 3, 1_700_000_000.0)
    assert first == model.incident_id("home", "scout", 3, 1_700_000_000.0)
    assert first.startswith("20231114-")
    assert first != model.incident_id("home", "scout", 4, 1_700_000_000.0)


def test_a_long_timeline_keeps_its_beginning_and_its_end() -> None:
    incident = make()
    for number in range(limits.TIMELINE_MAX + 50):
        model.add_moment(incident, float(number), f"entry {number}")
    assert len(incident.timeline) == limits.TIMELINE_MAX
    assert incident.timeline[0].text == "entry 0"
    assert incident.timeline[-1].text == f"entry {limits.TIMELINE_MAX + 49}"
    assert incident.moments_dropped == 50


def test_a_tier_is_noted_once() -> None:
    incident = make()
    for tier in (1, 1, 2, 0, 4):
        model.add_tier(incident, tier)
    assert incident.tiers == (1, 2, 4)


def test_the_summary_has_the_promised_keys() -> None:
    row = model.summary(make(caught_s=0.01234, outcome=Outcome.ESCALATED))
    assert {"id", "agent", "cause", "caught_s", "restored_s", "tiers", "outcome", "postmortem"} <= row.keys()
    assert row["caught_s"] == 0.012
    assert row["restored_s"] is None
    assert row["outcome"] == "escalated"


def test_the_post_mortem_tells_cause_exit_lines_timeline_and_what_to_do() -> None:
    incident = make(exit="killed by SIGKILL", log_lines=("ready", "bad \x1b[31mkey"), outcome=Outcome.ESCALATED)
    model.add_moment(incident, 1_700_000_001.0, "restarted")
    model.add_tier(incident, 1)
    text = render.postmortem(report.build(incident, Facts(), []))
    for part in (
        "# scout: crashed (exit 1: bad key)",
        "killed by SIGKILL",
        "    ready",
        "restarted it",
        "needs a person",
    ):
        assert part in text
    assert "\x1b" not in text
    assert "2023-11-14 22:13:21.000 restarted" in text


def test_both_forms_are_written_and_the_oldest_pruned(tmp_path: Path) -> None:
    for number in range(4):
        incident = make(id=f"2026-{number}")
        files.write(tmp_path, incident, Facts())
        os.utime(files.path_of(tmp_path, incident.id), (number, number))
    assert json.loads((tmp_path / "2026-3.json").read_text())["agent"] == "scout"
    assert files.prune(tmp_path, keep=2) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "2026-2.json", "2026-2.md", "2026-3.json", "2026-3.md"
    ]  # fmt: skip
