"""What lies around a well-written file is told with the line that names it."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from holdfast import recipes
from holdfast.spec.check import Identity, blocked_at, search


def _check(tmp_path: Path, body: str) -> list[str]:
    file = tmp_path / "holdfast.yaml"
    file.write_text(f"agents:\n  a:\n    {body}\n")
    return [f"{one.severity} {one.text.removeprefix(str(file))}" for one in recipes.check(file)]


def test_a_program_and_a_directory_that_exist_are_fine(tmp_path: Path) -> None:
    assert _check(tmp_path, "command: [/bin/sh, -c, exit]") == []
    assert _check(tmp_path, "command: [sh]") == []


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    (found,) = _check(tmp_path, "command: [./no]")
    assert found == f'error :3: agents.a.command: found no program "{tmp_path}/no", expected a program that exists'
    (found,) = _check(tmp_path, "command: [no-such-program-here]")
    assert 'found no program "no-such-program-here" on PATH' in found


def test_a_program_on_the_callers_path_alone_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "own-tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = _check(tmp_path, "command: [own-tool]")
    assert found.startswith("warning :3: agents.a.command: found")
    assert found.endswith(f"did you mean {program}")
    assert _check(tmp_path, f"{{command: [own-tool], env: {{PATH: '{tmp_path}'}}}}") == []


def test_a_program_that_is_not_executable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").touch(mode=0o644)
    (found,) = _check(tmp_path, "command: [./run]")
    assert found.endswith(f"did you mean chmod +x {tmp_path}/run")


def test_a_script_without_its_interpreter_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("#!/no/such/python\n")
    (tmp_path / "run").chmod(0o755)
    (found,) = _check(tmp_path, "command: [./run]")
    assert "#!/no/such/python, which does not exist" in found


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    (found,) = _check(tmp_path, "{command: [sh], working_dir: gone}")
    expected = f'found no directory "{tmp_path}/gone", expected a directory that exists'
    assert found == f"error :3: agents.a.working_dir: {expected}"
    (found,) = _check(tmp_path, "{command: [sh], working_dir: ./holdfast.yaml}")
    assert "which is a file" in found


def test_settings_of_a_question_over_http_that_nobody_asks_are_a_warning(tmp_path: Path) -> None:
    (found,) = _check(tmp_path, "command: [/bin/true]\n    health: {interval: 5s, command: [/bin/true]}")
    assert found.startswith("warning :4: agents.a.health.interval: found a setting of `http` without http, expected")
    assert _check(tmp_path, "command: [/bin/true]\n    health: {interval: 5s, http: 'http://127.0.0.1:1/x'}") == []


def test_a_missing_user_is_an_error(tmp_path: Path) -> None:
    found = _check(tmp_path, "{command: [sh], user: no-such-user-here}")
    assert "error :3: agents.a.user: found no user no-such-user-here, expected a user of this machine" in found


@pytest.mark.skipif(os.getuid() == 0, reason="root may become any user")
def test_another_user_needs_root(tmp_path: Path) -> None:
    (found,) = (one for one in _check(tmp_path, "{command: [sh], user: root}") if "user" in one)
    assert "expected no user:, or Holdfast started as root" in found


@pytest.mark.skipif(os.getuid() != 0, reason="only root may start as another user")
def test_a_place_the_user_cannot_enter_is_a_warning(tmp_path: Path) -> None:
    try:
        pwd.getpwnam("nobody")
    except KeyError:
        pytest.skip("no user nobody on this machine")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    found = _check(tmp_path, "{command: [sh], user: nobody, working_dir: closed}")
    assert any(one.startswith("warning") and "which user nobody may not enter" in one for one in found)


def test_mode_bits_of_owner_group_and_others_are_told_apart(tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.mkdir()
    status = place.stat()
    stranger = Identity("x", status.st_uid + 12345, frozenset({status.st_gid + 12345}))
    member = Identity("x", status.st_uid + 12345, frozenset({status.st_gid}))
    for parent in tmp_path.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            pytest.skip("the temporary directory is closed to others")
    tmp_path.chmod(0o755)
    place.chmod(0o711)
    assert blocked_at(str(place), stranger, stat.S_IXOTH) is None
    place.chmod(0o701)
    assert blocked_at(str(place), member, stat.S_IXOTH) == str(place)
    place.chmod(0o710)
    assert blocked_at(str(place), member, stat.S_IXOTH) is None
    assert blocked_at(str(place), stranger, stat.S_IXOTH) == str(place)


def test_search_ignores_relative_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tool").touch(mode=0o755)
    assert search("tool", ".:") is None
    assert search("tool", f"/no:{tmp_path}") == str(tmp_path / "tool")


def test_the_program_of_a_probe_command_is_looked_for_too(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text("agents:\n  a:\n    command: [/bin/true]\n    health: {command: ./ask}\n")
    (found,) = recipes.check(file)
    assert found.text == (
        f'{file}:4: agents.a.health.command: found no program "{tmp_path}/ask", expected a program that exists'
    )
