"""The whole post-mortem: both forms, its picture, its bounds; kinds of incidents; what changed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from holdfast import limits
from holdfast.evidence.model import Thread
from holdfast.incidents import changes, curve, files, grouping, model, render, report
from holdfast.incidents.changes import FileSeen, Proven, Told
from holdfast.incidents.facts import Change, Facts, MemoryFacts, joined
from holdfast.spec.model import AgentSpec
from tests.unit.incidents.test_causes import OPENED, died, hung, locked, sleeping
from tests.unit.incidents.test_incident_records import make

LEAK = tuple((OPENED - 300 + 5 * step, 100_000_000 + 6_000_000 * step) for step in range(60))


def test_both_forms_name_the_function_first_and_hold_the_same(tmp_path: Path) -> None:
    incident = make()
    model.add_tier(incident, 1, OPENED + 2)
    facts = hung(sleeping())
    facts.memory = MemoryFacts(limit_bytes=512_000_000, curve=LEAK)
    facts.changes = (Change(at=OPENED - 60, what="spec", text="holdfast.yaml: env.MODEL changed"),)
    facts.proven_at = OPENED - 1000
    files.write(tmp_path, incident, facts)
    text = files.path_of(tmp_path, incident.id).read_text()
    shown = json.loads((tmp_path / f"{incident.id}.json").read_text())
    assert text.splitlines()[2] == "It hung in stuck_here (agent.py:12). (likely)"
    assert shown["version"] == 1
    assert shown["hung_in"]["function"] == "stuck_here"
    assert shown["acts"][0]["after_s"] == pytest.approx(2.0)
    for words in (
        "env.MODEL changed",
        "2.000 s after the fault",
        "<svg ",
        "What you can do",
        "stuck_here /srv/agent.py:12",
    ):
        assert words in text
    assert incident.function == "stuck_here (agent.py:12)"
    assert len(shown["memory"]["curve"]) == len(LEAK)


def test_unknown_is_said_as_unknown() -> None:
    text = render.postmortem(report.build(make(), Facts(), []))
    assert text.splitlines()[2].startswith("The cause is unknown")


def test_what_an_agent_prints_cannot_forge_a_part_of_the_report() -> None:
    incident = make(cause="x\n# forged <script>", log_lines=("\x1b[2J", "# heading", "</svg><script>"))
    text = render.postmortem(report.build(incident, Facts(), []))
    assert "\x1b" not in text
    assert "<script>" not in text.split("## Last lines")[0]
    assert "    # heading" in text  # as an indented block: no heading
    assert not re.search(r"^# forged", text, re.MULTILINE)


def test_secrets_are_masked_in_every_form(tmp_path: Path) -> None:
    incident = make(cause="password=hunter2", log_lines=("opensesame", "Bearer abcdefghijkl"), exit="sk-abcdefghijk")
    files.write_facts(tmp_path, incident.id, Facts(gaps=("opensesame",)), ["opensesame"])
    files.write(tmp_path, incident, Facts(gaps=("opensesame",)), [], ["opensesame"])
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    for secret in ("hunter2", "opensesame", "abcdefghij"):
        assert secret not in kept


def test_the_size_is_bounded(tmp_path: Path) -> None:
    incident = make(log_lines=tuple("x" * 60_000 for _ in range(50)))
    threads = [Thread(tid=n, state="S", kernel_stack=("y" * 400,) * 40) for n in range(400)]
    facts = hung(*threads)
    files.write_facts(tmp_path, incident.id, facts)
    files.write(tmp_path, incident, files.read_facts(tmp_path, incident.id))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes[f"{incident.id}.md"] <= limits.POSTMORTEM_MAX_BYTES
    assert sizes[f"{incident.id}.json"] <= limits.POSTMORTEM_MAX_BYTES
    assert sizes[f"{incident.id}.evidence.json"] <= limits.BUNDLE_MAX_BYTES


def test_evidence_of_another_version_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "i.evidence.json").write_text("[1]")
    assert files.read_facts(tmp_path, "i") == Facts()


def test_a_later_look_keeps_what_the_earlier_one_saw() -> None:
    before = hung(locked(), locked())
    found = joined(before, died(1, words="exit 1"))
    assert found.hung
    assert found.bundle is before.bundle
    assert found.exit is not None


# --- the picture -------------------------------------------------------------------------------------------------


def test_the_memory_curve_is_a_picture_with_a_title_and_no_script() -> None:
    drawn = ElementTree.fromstring(curve.svg(LEAK, 512_000_000, "Memory of <scout>"))
    space = "{http://www.w3.org/2000/svg}"
    assert drawn.get("role") == "img"
    title = drawn.find(f"{space}title")
    assert title is not None
    assert title.text == "Memory of <scout>"
    points = drawn.find(f"{space}polyline")
    assert points is not None
    pairs = [tuple(map(float, pair.split(","))) for pair in str(points.get("points")).split()]
    assert all(0 <= x <= 720 and 0 <= y <= 200 for x, y in pairs)
    assert pairs[0][1] > pairs[-1][1]  # it grew, and up is smaller
    assert "script" not in "".join(each.tag for each in drawn.iter())


@pytest.mark.parametrize("points", [[], [(1.0, 5)], [(1.0, 5), (1.0, 6)]])
def test_there_is_no_picture_of_nothing(points: list[tuple[float, int]]) -> None:
    assert curve.svg(points, None, "x") == ""


def test_thinning_keeps_the_peak_and_the_end() -> None:
    points = [(float(n), 10) for n in range(5000)]
    points[1234] = (1234.0, 99)
    thin = curve.thin(points)
    assert len(thin) <= limits.CURVE_POINTS_MAX
    assert (1234.0, 99) in thin
    assert thin[-1] == points[-1]


# --- kinds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("web", "process", "hung", "f"), ("web", "process", "hung", "f"), True),
        (("web-1", "process", "hung", "f"), ("web-2", "process", "hung", "f"), True),
        (("web", "process", "hung", "f"), ("api", "process", "hung", "f"), False),
        (("a", "openclaw", "hung", "f"), ("b", "openclaw", "hung", "f"), True),
        (("web", "process", "hung", "f"), ("web", "process", "hung", "g"), False),
        (("web", "process", "exit", "exit 1 at 0x12"), ("web", "process", "exit", "exit 1 at 0x99"), True),
        (("web", "process", "exit", "x"), ("web", "process", "crash", "x"), False),
    ],
)
def test_kinds_are_told_apart(one: tuple[str, ...], other: tuple[str, ...], same: bool) -> None:
    assert (grouping.fingerprint(*one) == grouping.fingerprint(*other)) is same


def test_similar_incidents_are_counted_within_seven_days_and_linked() -> None:
    days = 86_400.0
    known = [make(id=f"i{n}", fingerprint="k", opened_at=OPENED - ago * days) for n, ago in enumerate((30, 3, 2, 1))]
    incident = make(id="now", fingerprint="k", opened_at=OPENED)
    alike = grouping.similar(incident, [*known, incident, make(id="other", fingerprint="z", opened_at=1.0)])
    assert [one.id for one in alike] == ["i3", "i2", "i1", "i0"]
    assert grouping.within_window(incident, alike) == 4


def test_the_post_mortem_links_the_earlier_ones() -> None:
    earlier = make(id="earlier", opened_at=OPENED - 100)
    report.build(earlier, hung(sleeping()), [])
    text = render.postmortem(report.build(make(id="now"), hung(sleeping()), [earlier]))
    assert "the 2nd of this kind in 7 days; earlier: [earlier](earlier.md)" in text


def test_groups_are_counted_with_their_last() -> None:
    known = [make(id="a", fingerprint="k", opened_at=1.0), make(id="b", fingerprint="k", opened_at=2.0), make(id="c")]
    rows = {row["key"]: row for row in grouping.groups(known)}
    assert (rows["k"]["count"], rows["k"]["last_id"]) == (2, "b")
    assert rows["c"]["count"] == 1


def test_ordinals() -> None:
    shown = [grouping.ordinal(number) for number in (1, 2, 3, 4, 11, 21, 112)]
    assert shown == ["1st", "2nd", "3rd", "4th", "11th", "21st", "112th"]


# --- what changed ------------------------------------------------------------------------------------------------

SPEC = AgentSpec(name="web", command=("run",), working_dir="/srv", env={"KEY": "old-secret", "MODEL": "a"})


def proven(spec: AgentSpec = SPEC, **more: object) -> Proven:
    base: dict[str, object] = {"at": 100.0, "instance": 3, "seq": 10, "version": "1", "boot_id": "b"}
    return Proven(**{**base, "keys": changes.keys_of(spec, "salt"), **more})  # type: ignore[arg-type]


def test_nothing_changed_is_nothing_listed() -> None:
    assert changes.compare(proven(), proven(), [], "web") == ()


def test_settings_are_named_with_the_time_they_were_applied_and_never_by_value() -> None:
    new = AgentSpec(name="web", command=("run",), working_dir="/srv", env={"KEY": "new-secret", "MODEL": "b"})
    told = [Told(150.0, "fleet.applied", {"changed": ["web"]}), Told(170.0, "fleet.applied", {"changed": ["other"]})]
    found = changes.compare(proven(), proven(new), told, "web")
    assert [(one.at, one.what) for one in found] == [(150.0, "spec")]
    assert "env.KEY" in found[0].text
    assert "env.MODEL" in found[0].text
    assert "secret" not in str(proven(new)).replace("secret_env", "")


def test_settings_are_told_apart_by_what_they_reach() -> None:
    new = AgentSpec(name="web", command=("run",), working_dir="/srv", env={"KEY": "b"}, priority=7, labels={"a": "b"})
    found = changes.compare(proven(), proven(new), [], "web")
    assert {one.what: one.text for one in found}["care"] == "holdfast.yaml: labels.a, priority changed"
    assert [one.what for one in found] == ["spec", "care"]


def test_versions_boots_and_files_are_listed_oldest_first() -> None:
    told = [
        Told(120.0, "keeper.started", {"version": "2", "boot_id": "b"}),
        Told(130.0, "keeper.started", {"version": "2", "boot_id": "c"}),
    ]
    seen = FileSeen(changed_at=110.0, size_bytes=1, inode=1)
    new = proven(version="2", boot_id="c", files={"/srv/run": FileSeen(changed_at=125.0, size_bytes=2, inode=1)})
    found = changes.compare(proven(files={"/srv/run": seen, "/srv/gone": seen}), new, told, "web")
    assert [(one.at, one.what) for one in found] == [
        (120.0, "version"),
        (125.0, "file"),
        (130.0, "boot"),
        (0.0, "file"),
    ]


def test_a_change_nobody_dated_has_no_time() -> None:
    new = AgentSpec(name="web", command=("run", "--fast"), working_dir="/srv", env=SPEC.env)
    assert changes.compare(proven(), proven(new), [], "web")[0].at == 0.0
