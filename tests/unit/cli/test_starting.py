"""Bringing Holdfast up: what is written for init, who owns a home, and the one step into a delegated scope."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

import pytest

from holdfast.cli import starting
from holdfast.cli.session import Session
from holdfast.errors import HoldfastError
from holdfast.home import Home


class Became(Exception):
    """Stands for execv: the process would be another program now."""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    Home(tmp_path / "home").prepare()
    return Session(home_option=str(tmp_path / "home"))


def test_services_are_started_from_any_directory(session: Session) -> None:
    starting.write_services(session.home, ["/bin/tell", "me"])
    services = json.loads(session.home.services.read_text())
    assert services["last_resort"] == ["/bin/tell", "me"]
    for name in ("keeper", "logger"):
        argv = services[name]["argv"]
        assert argv[0] == sys.executable
        assert Path(argv[0]).is_absolute()
        assert argv[-2:] == ["--home", str(session.home.path)]


def test_the_last_resort_is_kept_when_no_file_is_read(session: Session) -> None:
    starting.write_services(session.home, ["/bin/tell"])
    starting.write_services(session.home, None)
    assert json.loads(session.home.services.read_text())["last_resort"] == ["/bin/tell"]
    session.home.services.write_text("half writ")
    starting.write_services(session.home, None)
    assert json.loads(session.home.services.read_text())["last_resort"] == []


def test_a_home_is_owned_while_somebody_holds_its_lock(session: Session) -> None:
    assert not starting.is_owned(session.home)
    with session.home.guard_lock.open("w") as lock:
        assert not starting.is_owned(session.home)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert starting.is_owned(session.home)
    assert not starting.is_owned(session.home)


def test_a_home_of_somebody_else_is_one_clear_error(tmp_path: Path) -> None:
    if os.getuid() == 0:
        (tmp_path / "home").mkdir()
        os.chown(tmp_path / "home", 12345, 12345)
        foreign = tmp_path / "home"
    else:
        foreign = Path("/proc/1")
    session = Session(home_option=str(foreign))
    with pytest.raises(HoldfastError) as caught:
        starting.start_holdfast(session, session.client(), None, 1.0)
    assert caught.value.kind.code == "HF3007"


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """An ordinary user on a machine whose systemd answers; what would be executed is collected."""
    executed: list[list[str]] = []

    def execv(_path: str, argv: list[str]) -> None:
        executed.append(argv)
        raise Became

    monkeypatch.delenv(starting.SCOPED_ENV, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(starting, "_systemd_launcher", lambda: ["/usr/bin/systemd-run", "--user", "--scope"])
    return executed


def test_an_ordinary_user_enters_a_delegated_scope_once(
    session: Session, systemd: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", os.environ.get("HOME", "/"))  # so that the marker set below is taken back as well
    with pytest.raises(Became):
        starting.enter_delegated_scope(session, ["up", "-d"])
    assert systemd[0][:5] == ["/usr/bin/systemd-run", "--user", "--scope", "-p", "Delegate=yes"]
    assert systemd[0][-2:] == ["up", "-d"]
    assert "enable-linger" in capsys.readouterr().err
    assert os.environ[starting.SCOPED_ENV] == "1"
    starting.enter_delegated_scope(session, ["up", "-d"])  # inside: nothing more to do
    assert len(systemd) == 1
    assert starting.SCOPED_ENV not in os.environ


def test_root_and_a_running_holdfast_stay_where_they_are(
    session: Session, systemd: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with session.home.guard_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starting.enter_delegated_scope(session, ["up"])
    monkeypatch.setattr(os, "getuid", lambda: 0)
    starting.enter_delegated_scope(session, ["up"])
    assert systemd == []


def test_without_systemd_nothing_is_entered(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("nothing to become"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session.home.path))
    starting.enter_delegated_scope(session, ["up"])
