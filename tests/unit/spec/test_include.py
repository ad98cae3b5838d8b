"""Several files are read as one fleet, and mistakes name the right one."""

# ruff: noqa: E501
from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import limits, recipes
from holdfast.errors import HoldfastError
from holdfast.spec.load import Loaded


def _files(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        path = tmp_path / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path / "main.yaml"


def _read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> Loaded:
    monkeypatch.chdir(tmp_path)
    _files(tmp_path, **files)
    return recipes.read("main.yaml")


def _refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> list[str]:
    with pytest.raises(HoldfastError) as caught:
        _read(tmp_path, monkeypatch, **files)
    return str(caught.value.detail["problems"]).split("\n")


def test_agents_defaults_templates_and_alerts_of_several_files_are_one_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "teams").mkdir()
    (tmp_path / "teams/b.env").write_text("A=1\n")
    loaded = _read(
        tmp_path,
        monkeypatch,
        main="include: [teams/*.yaml, shared.yaml]\ndefaults: {priority: 1}\nagents: {a: {template: t}}\nalerts: [{command: [tell]}]\n",
        teams__b="x-note: &n {team: b}\ndefaults: {priority: 2}\nagents: {b: {command: [./run], labels: *n, env_file: b.env}}\n",
        teams__c="include: ../shared.yaml\nagents: {c: {template: t, depends_on: [a, b]}}\nalerts: [{ntfy: 'http://n/c'}]\n",
        teams__x="agents: {}\n",
        shared="templates: {t: {command: [x], working_dir: w}}\n",
    )
    a, b, c = loaded.fleet.agents
    assert (a.priority, b.priority, c.priority) == (1, 2, 50)
    assert a.working_dir == c.working_dir == str(tmp_path / "w")
    assert b.command == (str(tmp_path / "teams/run"),)
    assert b.env == {"A": "1"}
    assert [one.agent for one in c.depends_on] == ["a", "b"]
    assert len(loaded.fleet.alerts) == 2
    assert loaded.files == ("main.yaml", "teams/b.yaml", "teams/c.yaml", "shared.yaml", "teams/x.yaml")
    sources = {(one.agent, one.field): one.source for one in recipes.effective(loaded)}
    assert sources["c", "command"] == "shared.yaml:1 (template t)"
    assert sources["b", "priority"] == "teams/b.yaml:2 (defaults)"


def test_a_mistake_names_the_file_it_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _refused(
        tmp_path,
        monkeypatch,
        main="agents: {a: {template: t}}\ninclude: b.yaml\n",
        b="templates:\n  t: {command: [x], limits: {memory: 5 apples}, health: {interval: 1s, timeout: 5s}}\n",
    ) == [
        'b.yaml:2: templates.t.limits.memory: found "5 apples", expected a size such as 500M or 1.5G, at least 1M, or none',
        "b.yaml:2: templates.t.health.timeout: found a timeout of 5s, expected at most the interval (1s)",
    ]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"main": "include: b.yaml\nagents: {}\n", "b": "\ninclude: main.yaml\n"},
            ('b.yaml:2: include: found "main.yaml" again (main.yaml:1 -> b.yaml:2 -> main.yaml), '
            "expected files that do not include each other"),
        ),
        (
            {"main": "include: [main.yaml]\nagents: {}\n"},
            ('main.yaml:1: include.0: found "main.yaml" again (main.yaml:1 -> main.yaml), '
            "expected files that do not include each other"),
        ),
        (
            {"main": "include: b.yaml\nagents:\n  a: {command: [x]}\n", "b": "agents:\n  a: {command: [x]}\n"},
            ("b.yaml:2: agents.a: found the agent a again (first in main.yaml:3), "
            "expected each name once, replicas included"),
        ),
        (
            {"main": "include: b.yaml\ntemplates:\n  t: {}\nagents: {}\n", "b": "templates:\n  t: {}\n"},
            ("b.yaml:2: templates.t: found the template t again (first in main.yaml:3), "
            "expected each template once, in all files"),
        ),
        (
            {"main": "agents: {}\ninclude: [no.yaml]\n"},
            'main.yaml:2: include.0: found no file "no.yaml", expected a file that exists',
        ),
        (
            {"main": "include: .\nagents: {}\n"},
            "which cannot be read: it is a directory, expected a readable file",
        ),
        (
            {"main": "include: b.yaml\nagents: {}\n", "b": "last_resort: [x]\n"},
            "b.yaml:1: last_resort: found the key last_resort, expected this key in the main file, main.yaml",
        ),
        ({"main": "include: {a: b}\nagents: {}\n"}, "main.yaml:1: include: found a mapping, expected a path"),
        ({"main": "include: b.yaml\n", "b": "agents: [\n"}, "b.yaml:"),
        ({"main": "include: b.yaml\n", "b": ""}, "b.yaml:1: file: found nothing, expected a mapping with `agents:`"),
    ],
)  # fmt: skip
def test_a_wrong_include_names_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], said: str
) -> None:
    (line,) = _refused(tmp_path, monkeypatch, **files)
    assert said in line


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SPEC_FILES_MAX", 3)
    files = {f"c__{number}": "agents: {}" for number in range(5)}
    lines = _refused(tmp_path, monkeypatch, main="include: c/*.yaml\nagents: {}\n", **files)
    assert 'found one more file, "c/2.yaml", expected at most 3 files in all' in lines[0]


def test_a_glob_that_matches_nothing_is_a_warning_and_never_means_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = _read(tmp_path, monkeypatch, main="include: ['*.yaml', 'no/*.yaml']\nagents: {}\n")
    assert [one.severity for one in loaded.warnings] == ["warning"]
    assert loaded.files == ("main.yaml",)
