"""What counts as damage of a single file, and what some program would still read."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.spec.validator import CODE, Kind, Validator
from holdfast.state.checks import json5, validate

SETTINGS = """// mine
{ gateway: { mode: 'local', port: 0x4951, 'a key': .5, },
  "list": [1, -Infinity, +2., 1e9, NaN, /* two
  lines */ true, null,], text: 'it\\'s \\
on two lines', \u00fcber: "\\u00e9", }
"""


@pytest.mark.parametrize(
    "text", [SETTINGS, "{}", "[]", "5", "'x'", '{"a":{"b":[{}]}}', "\ufeff{a:1}", "[" * 9999 + "]" * 9999]
)
def test_what_a_reader_of_json5_takes_is_taken(text: str) -> None:
    json5.check(text)


@pytest.mark.parametrize(
    "text",
    ["", "  // nothing", "{", SETTINGS[: len(SETTINGS) // 2], "{a:1}}", "{a 1}", "{a:1 b:2}", "[,]", "{a:}", "{'a:1}",
     "[1,,2]", "{,}", "yes", "[0x]", "\0\0\0", "{a:'x\ny'}", "[1}"],
)  # fmt: skip
def test_what_no_reader_of_json5_takes_is_refused(text: str) -> None:
    with pytest.raises(json5.NotJson5):
        json5.check(text)


def test_settings_cut_off_anywhere_are_refused() -> None:
    whole = SETTINGS.rstrip()
    for length in range(10, len(whole)):
        with pytest.raises(json5.NotJson5):
            json5.check(whole[:length])


def faults(tree: Path, *validators: Validator) -> list[str]:
    return [fault.path.removeprefix(f"{tree}/") for fault in validate.check([str(tree)], validators)]


def test_a_named_database_that_is_empty_or_overwritten_is_a_fault(tmp_path: Path) -> None:
    asked = Validator(kind=Kind.DATABASE, path="/*.db")
    with closing(sqlite3.connect(tmp_path / "good.db")) as base:
        base.execute("create table t (x)")
    (tmp_path / "empty.db").touch()
    (tmp_path / "garbage.db").write_bytes(os.urandom(9_000))
    assert sorted(faults(tmp_path, asked)) == ["empty.db", "garbage.db"]


def test_a_file_with_a_log_of_a_database_beside_it_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(5_000))
    (tmp_path / "a-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(5_000))
    (tmp_path / "b").write_bytes(os.urandom(5_000))
    assert faults(tmp_path, Validator(kind=Kind.SQLITE, path="*")) == ["a"]


def test_yaml_settings_are_a_mapping(tmp_path: Path) -> None:
    texts = {
        "good.yaml": "a: &x [1, 2]\nb: *x\nc: !odd 5\n", "empty.yaml": "", "list.yaml": "- 1\n", "nul.yaml": "\0\0\0",
        "cut.yaml": "a: {b: [1,", "tab.yaml": "a:\n\t- b\n",
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = faults(tmp_path, Validator(kind=Kind.YAML, path="*.yaml"))
    assert sorted(found) == ["cut.yaml", "empty.yaml", "list.yaml", "nul.yaml", "tab.yaml"]


def test_json_of_an_unknown_program_is_a_fault_only_when_nobody_would_read_it(tmp_path: Path) -> None:
    texts = {
        "good.json": "[1]", "comments.json": "{ // mine\n a: 1, }", "lines.json": '{"a":1}\n{"a":2}\n{"a":',
        "cut.json": '{"a": [1, 2', "nul.json": "\0" * 512, "empty.json": "",
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "node_modules" / "x").mkdir(parents=True)
    (tmp_path / "node_modules" / "x" / "broken.json").write_text("{")
    found = validate.examine([str(tmp_path)], [Validator(kind=Kind.JSON_ANY, path="*.json", skip=CODE)])
    assert sorted(Path(fault.path).name for fault in found.faults) == ["cut.json", "nul.json"]
    assert [text for text in found.unchecked if "empty.json" in text]


def test_what_is_skipped_is_not_entered_and_too_many_files_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "a.json").write_text("{")
    for number in range(5):
        (tmp_path / f"{number}.json").write_text("{}")
    asked = Validator(kind=Kind.JSON, path="*.json", skip=("/cache/",))
    assert faults(tmp_path, asked) == []
    monkeypatch.setattr("holdfast.limits.VALIDATE_FILES_MAX", 3)
    found = validate.examine([str(tmp_path)], [asked])
    assert found.looked == 3
    assert "more than 3 files" in found.unchecked[0]


def test_a_missing_or_empty_file_that_must_be_there_is_a_fault(tmp_path: Path) -> None:
    asked = Validator(kind=Kind.PRESENT, path="/settings")
    assert faults(tmp_path, asked) == ["settings"]
    (tmp_path / "settings").touch()
    assert faults(tmp_path, asked) == ["settings"]
    (tmp_path / "settings").write_text("x")
    assert faults(tmp_path, asked) == []
