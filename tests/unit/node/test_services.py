"""Holdfast's own unit and crontab line, as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.node import installation, services, systemd

HOME = Path("/srv/my fleet")
COMMAND = ["/opt/py thon", "-P", "-m", "holdfast.cli", "--home", "/srv/my fleet"]


def test_the_unit_never_takes_agents_down_and_is_always_started_again() -> None:
    text = services.unit_text(HOME, COMMAND, "system", {"HOLDFAST_HOME": str(HOME)})
    lines = set(text.splitlines())
    assert {
        "KillMode=process",
        "Delegate=yes",
        "OOMPolicy=continue",
        "Restart=always",
        "TasksMax=infinity",
        "TimeoutStopSec=360",
        "RestartPreventExitStatus=10",
        "WantedBy=multi-user.target",
        'Environment="HOLDFAST_HOME=/srv/my fleet"',
        'ExecStart="/opt/py thon" -P -m holdfast.cli --home "/srv/my fleet" service run',
    } <= lines
    assert "WantedBy=default.target" in services.unit_text(HOME, COMMAND, "user", {})


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("plain", "plain"),
        ("50%", "50%%"),
        ("a b", '"a b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("", '""'),
        ("$HOME", '"$HOME"'),
    ],
)
def test_arguments_mean_to_systemd_what_they_mean_to_us(given: str, written: str) -> None:
    assert systemd.quote(given) == written


def test_a_dollar_in_a_command_is_not_a_variable() -> None:
    assert systemd.quote_command(["echo", "$HOME"]) == 'echo "$$HOME"'


def test_a_crontab_gets_one_line_and_loses_only_that_line() -> None:
    before = "MAILTO=me\n0 5 * * * backup\n"
    line = services.cron_line(HOME, COMMAND)
    once = services.with_line(before, HOME, line)
    assert services.with_line(once, HOME, line) == once
    assert services.has_line(once, HOME)
    assert not services.has_line(once, Path("/srv/other"))
    assert services.without_line(once, HOME) == before
    assert services.without_line(once, Path("/srv/other")) == once
    assert line.startswith("@reboot '/opt/py thon' ")


def test_a_percent_sign_is_no_newline_to_cron() -> None:
    assert r"\%" in services.cron_line(Path("/srv/100%"), ["holdfast", "--home", "/srv/100%"])


def test_a_units_state_is_read_from_what_systemctl_shows() -> None:
    text = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nMainPID=77\nTimeoutStopUSec=5min 30s\n"
    state = systemd.parse_show(text)
    assert (state.exists, state.is_active, state.is_enabled, state.main_pid) == (True, True, True, 77)
    assert state.stop_timeout_s == 330
    assert not systemd.parse_show("LoadState=not-found\n").exists


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1min 30s", 90), ("1h", 3600), ("500ms", 0.5), ("infinity", None), ("", None)]
)
def test_time_spans_are_read_as_systemd_prints_them(text: str, seconds: float | None) -> None:
    assert systemd.parse_span(text) == seconds


@pytest.mark.parametrize(
    ("prefix", "source", "kind"),
    [
        ("/home/u/.local/pipx/venvs/holdfast", "lib/python3.12/site-packages", "pipx"),
        ("/home/u/.local/share/uv/tools/holdfast", "lib/python3.12/site-packages", "uv"),
        ("/srv/venv", "lib/python3.12/site-packages", "venv"),
        ("/srv/venv", "/srv/holdfast/src", "checkout"),
        ("/h/releases/1.2", "lib/python3.12/site-packages", "release"),
    ],
)
def test_how_holdfast_was_installed_is_told_by_where_it_lies(prefix: str, source: str, kind: str) -> None:
    found = installation.classify(
        Path("/h"), Path(prefix), Path(prefix) / "bin/python", Path(prefix) / source, in_venv=True
    )
    assert found.kind == kind


def test_a_release_is_named_through_the_link_that_is_switched() -> None:
    prefix = Path("/h/releases/1.2")
    found = installation.classify(Path("/h"), prefix, prefix / "bin/python", prefix / "lib", in_venv=True)
    assert found.python == Path("/h/releases/current/bin/python")
