"""Every mistake gets its one exact line; a mistake is never a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from holdfast import limits, recipes
from holdfast.errors import HoldfastError
from holdfast.recipes import installed
from holdfast.spec import document
from holdfast.spec.fields import FIELDS
from tests.unit.spec.bad_files import BAD


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No OpenClaw and no Hermes, whatever this machine has."""
    monkeypatch.setenv("HOME", str(tmp_path / "no-home"))
    monkeypatch.setattr(installed, "program", lambda name: "")


def _filled(expected: str) -> str:
    names = recipes.names()
    blocks = [name for name in names if recipes.find(name).options]
    return (
        expected.replace("KEYS", ", ".join(sorted({path[0] for path in FIELDS}.union(blocks))))
        .replace("RECIPES", ", ".join(sorted(names)))
        .replace("READY", ", ".join(sorted(set(names) - {"process"})))
    )


@pytest.mark.parametrize(("text", "expected"), [one[1:] for one in BAD], ids=[one[0].replace(" ", "-") for one in BAD])
def test_a_mistake_is_told_with_file_line_and_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holdfast.yaml").write_text(text, encoding="utf-8", newline="")
    with pytest.raises(HoldfastError) as caught:
        recipes.load("holdfast.yaml")
    lines = tuple(one.replace(str(tmp_path), "DIR") for one in str(caught.value.detail["problems"]).split("\n"))
    assert lines == tuple(f"holdfast.yaml:{_filled(one)}" for one in expected)
    assert caught.value.exit_code == 2
    assert caught.value.kind.code == "HF1001"
    assert caught.value.detail["count"] == len(expected)


def test_the_parser_without_libyaml_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)
    for name, text, expected in BAD:
        if name in ("a dedent", "half a surrogate pair"):  # told by both, in other words
            continue
        (tmp_path / "holdfast.yaml").write_text(text, encoding="utf-8", newline="")
        with pytest.raises(HoldfastError) as caught:
            recipes.load("holdfast.yaml")
        lines = str(caught.value.detail["problems"]).replace(str(tmp_path), "DIR").split("\n")
        said = tuple(one.removeprefix("holdfast.yaml:") for one in lines)
        assert said == tuple(_filled(one) for one in expected), name


def test_the_table_holds_at_least_forty_files() -> None:
    assert len(BAD) >= 40


def _refusal(path: Path | str) -> HoldfastError:
    with pytest.raises(HoldfastError) as caught:
        recipes.load(path)
    assert caught.value.exit_code == 2
    return caught.value


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "no.yaml").kind.name == "SpecNotFound"
    (tmp_path / "file").touch()
    assert _refusal(tmp_path / "file" / "holdfast.yaml").kind.name == "SpecNotFound"


def test_a_directory_is_told_and_the_file_in_it_is_named(tmp_path: Path) -> None:
    assert _refusal(tmp_path).detail["reason"] == "it is a directory"
    (tmp_path / "holdfast.yaml").touch()
    assert str(_refusal(tmp_path).detail["reason"]).endswith(f"did you mean {tmp_path}/holdfast.yaml")


def test_a_fifo_is_told_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "holdfast.yaml")
    assert _refusal(tmp_path / "holdfast.yaml").detail["reason"] == "it is not a regular file"


def test_a_device_that_never_ends_is_told() -> None:
    assert _refusal("/dev/zero").detail["reason"] == "it is not a regular file"


def test_a_huge_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_bytes(b"#" * (limits.SPEC_MAX_BYTES + 1))
    assert _refusal(file).detail["reason"] == f"it is larger than {limits.SPEC_MAX_BYTES} bytes"


def test_a_name_with_a_nul_is_told() -> None:
    assert _refusal("a\0b").kind.name == "SpecUnreadable"


@pytest.mark.skipif(os.getuid() == 0, reason="root may read any file")
def test_a_file_without_read_permission_is_told(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.touch(mode=0o000)
    assert _refusal(file).detail["reason"] == "permission denied"


@pytest.mark.parametrize(
    ("data", "line", "found"),
    [
        (b"agents: {}\n# \xff\n", 2, "the byte 0xff"),
        ("agents: {}\n".encode("utf-16"), 1, "the byte 0xff"),
        (b"agents: {}\n# caf\xe9\n", 2, "the byte 0xe9"),
    ],
)
def test_bytes_that_are_not_utf8_are_told(tmp_path: Path, data: bytes, line: int, found: str) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_bytes(data)
    assert _refusal(file).detail["problems"] == f"{file}:{line}: file: found {found}, expected UTF-8 text"


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text("version: 3\nagents:\n  a: {command: [x], user: no}\n  b: {command: [x], priority: x}\nalerts: 5\n")
    problems = str(_refusal(file).detail["problems"]).split("\n")
    assert [one.removeprefix(f"{file}:").split(":")[0] for one in problems] == ["1", "3", "4", "5"]


def test_a_file_full_of_mistakes_is_told_in_bounded_length(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text("agents:\n" + "".join(f"  a{number}: {{user: no}}\n" for number in range(500)))
    error = _refusal(file)
    assert error.detail["count"] == 500
    lines = str(error.detail["problems"]).split("\n")
    assert len(lines) == limits.SPEC_PROBLEMS_SHOWN + 1
    assert lines[-1] == "... and 400 more"


def test_too_many_agents_are_one_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AGENTS_MAX", 3)
    file = tmp_path / "holdfast.yaml"
    file.write_text("agents:\n" + "".join(f"  a{number}: {{command: [x]}}\n" for number in range(9)))
    error = _refusal(file)
    assert (
        error.summary
        == f"{file} has 1 error:\n{file}:5: agents: found more than 3 agents, expected fewer on one machine"
    )


def test_a_removed_current_directory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert _refusal("holdfast.yaml").kind.name in ("SpecUnreadable", "SpecNotFound")
