"""What a look at a machine means: tables of processes, units and pm2 entries."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.adoption import former, machine, plan
from holdfast.adoption.discover import discover, kind_of, state_dir, units_for
from holdfast.adoption.model import Kind, Place, Pm2App, Running, Snapshot, UnitFile

USERS = {0: ("root", "/root"), 1000: ("ann", "/home/ann")}
OPENCLAW = Place(
    kind="openclaw", path="/home/ann/.openclaw", config="/home/ann/.openclaw/openclaw.json", uid=1000, port=18801
)
HERMES = Place(
    kind="hermes", path="/home/ann/.hermes", config="/home/ann/.hermes/config.yaml", uid=1000, port=8700, has_key=True
)
UNIT = UnitFile(
    name="openclaw-gateway.service", scope="user", uid=1000, path="/home/ann/openclaw-gateway.service",
    exec_start=(
        "/usr/bin/node", "/usr/lib/node_modules/openclaw/dist/index.js",
        "gateway", "--port", "18801", "--token", "S3CRET",
    ),
    enabled=True,
)  # fmt: skip
GATEWAY = Running(
    pid=50, ppid=2, starttime=7, uid=1000, argv=("openclaw-gateway",), exe="/usr/bin/node", ports=(18801,),
    cgroup="0::/user.slice/user-1000.slice/user@1000.service/app.slice/openclaw-gateway.service\n",
    env={"HOME": "/home/ann", "API": "k", "INVOCATION_ID": "x", "PATH": "/usr/bin"},
)  # fmt: skip


def test_a_running_openclaw_is_found_with_its_unit_program_and_port() -> None:
    (found,) = discover(Snapshot(uid=0, users=USERS, processes=(GATEWAY,), units=(UNIT,), places=(OPENCLAW,)))
    assert (found.pid, found.port, found.user, found.install) == (50, 18801, "ann", "/usr/lib")
    assert (found.node, found.former.kind, found.former.name) == ("/usr/bin/node", "systemd", UNIT.name)
    assert not found.missing
    assert found.former.was_enabled


def test_secrets_leave_the_command_line_for_the_environment_and_markers_of_the_session_stay_behind() -> None:
    (found,) = discover(Snapshot(uid=0, users=USERS, processes=(GATEWAY,), units=(UNIT,), places=(OPENCLAW,)))
    body = plan.declaration(found, as_root=True, env_file="/x.env")
    assert "S3CRET" not in str(body)
    assert "S3CRET" not in str(plan.as_json(found, body, []))
    assert plan.carried(found) == {
        "HOME": "/home/ann", "API": "k", "PATH": "/usr/bin", "OPENCLAW_GATEWAY_TOKEN": "S3CRET"
    }  # fmt: skip
    assert body["user"] == "ann"


def test_an_agent_of_a_holdfast_is_no_installation_to_adopt() -> None:
    ours = msgspec.structs.replace(GATEWAY, env={**GATEWAY.env, "HOLDFAST_INSTANCE": "a:b:1"})
    found = discover(Snapshot(uid=0, users=USERS, processes=(ours,), places=(OPENCLAW,)))
    assert [one.running for one in found] == [False]


def test_the_gateway_of_another_user_is_nobodys_to_adopt_but_roots() -> None:
    for uid, seen in ((0, 1), (GATEWAY.uid, 1), (GATEWAY.uid + 1, 0)):
        assert len(discover(Snapshot(uid=uid, users=USERS, processes=(GATEWAY,)))) == seen


def test_a_hermes_under_pm2_is_found_with_its_app_and_its_own_env_file_decides_the_port() -> None:
    argv = ("/srv/v/bin/python", "-m", "hermes_cli.main", "gateway", "run")
    process = Running(
        pid=9, ppid=8, starttime=1, uid=1000, argv=argv, env={"HOME": "/home/ann", "API_SERVER_PORT": "1"}
    )
    app = Pm2App(name="bot", uid=1000, pm2_home="/home/ann/.pm2", argv=argv, pid=9)
    (found,) = discover(Snapshot(uid=0, users=USERS, processes=(process,), pm2=(app,), places=(HERMES,)))
    assert (found.former.kind, found.former.name, found.install, found.port) == ("pm2", "bot", "/srv/v", 8700)
    assert not plan.needs_key(found)


def test_a_unit_that_does_not_run_is_found_and_one_without_state_cannot_be_adopted() -> None:
    (found,) = discover(Snapshot(uid=0, users=USERS, units=(UNIT,)))
    assert not found.running
    assert found.missing
    (found,) = discover(Snapshot(uid=0, users=USERS, units=(UNIT,), places=(OPENCLAW,)))
    assert units_for(Snapshot(uid=0, users=USERS, units=(UNIT,)), found) == [UNIT]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("node /opt/n/node_modules/openclaw/openclaw.mjs gateway run", "openclaw"),
        ("/v/bin/python /v/bin/hermes gateway run", "hermes"),
        ("/v/bin/hermes chat", None),
        ("vim openclaw.json gateway.md", None),
        ("grep hermes gateway", None),
        ("/v/bin/python /v/bin/hermes gateway status", None),
        ("node /opt/node_modules/openclaw/dist/index.js gateway --port 18789", "openclaw"),
        ("", None),
    ],
)
def test_a_command_line_tells_which_gateway_it_starts(line: str, kind: str | None) -> None:
    assert kind_of(line.split()) == kind


def test_a_unit_is_read_with_continued_lines_quotes_specifiers_and_several_environments() -> None:
    text = (
        "[Service]\nUser=ann\nExecStart=-%h/v/bin/hermes \\\n  gateway run\n"
        'Environment="A=x y" B=100%%\nEnvironment=C=%h\nEnvironmentFile=-/etc/one\nEnvironmentFile=%h/two\n'
    )
    assert machine.parse_unit(text, "/home/ann") == {
        "exec_start": ("/home/ann/v/bin/hermes", "gateway", "run"),
        "environment": {"A": "x y", "B": "100%", "C": "/home/ann"},
        "environment_files": ["/etc/one", "/home/ann/two"],
        "user": "ann",
    }


def test_an_app_of_pm2_that_was_never_saved_is_known_by_its_daemon() -> None:
    env = {"HOME": "/home/ann", "HERMES_HOME": "/home/ann/.hermes", "pm_id": "0", "name": "bot", "version": "1",
           "kill_timeout": "9000", "MY": "1", "PATH": "/n/bin"}  # fmt: skip
    argv = ("/srv/v/bin/python", "/srv/v/bin/hermes", "gateway", "run")
    gateway = Running(pid=9, ppid=8, starttime=1, uid=1000, argv=argv, env=env)
    title = ("PM2 v7.0.4: God Daemon (/home/ann/elsewhere)",)
    god = Running(pid=8, ppid=1, starttime=1, uid=1000, argv=title, comm="PM2 v7.0.4: God")
    (found,) = discover(Snapshot(uid=0, users=USERS, processes=(god, gateway), places=(HERMES,)))
    pm2 = found.former
    assert (pm2.kind, pm2.name, pm2.pm2_home) == ("pm2", "bot", "/home/ann/elsewhere")
    assert (pm2.kill_s, pm2.search, pm2.was_enabled) == (9.0, "/n/bin", False)
    assert plan.carried(found) == {"HOME": "/home/ann", "MY": "1", "PATH": "/n/bin"}


@pytest.mark.parametrize(
    ("kind", "env", "line", "state"),
    [
        ("hermes", {}, "/v/bin/hermes gateway run", "/h/.hermes"),
        ("hermes", {}, "/v/bin/hermes -p coder gateway run", "/h/.hermes/profiles/coder"),
        ("hermes", {"HERMES_HOME": "/h/.hermes/profiles/coder"}, "/v/bin/hermes --profile coder gateway",
         "/h/.hermes/profiles/coder"),
        ("openclaw", {}, "node openclaw.mjs --profile=work gateway", "/h/.openclaw-work"),
        ("openclaw", {"OPENCLAW_PROFILE": "work"}, "openclaw-gateway", "/h/.openclaw-work"),
        ("openclaw", {"OPENCLAW_PROFILE": "work", "OPENCLAW_STATE_DIR": "/s/"}, "openclaw-gateway", "/s"),
    ],
)  # fmt: skip
def test_a_profile_has_a_state_directory_of_its_own(kind: Kind, env: dict[str, str], line: str, state: str) -> None:
    assert state_dir(kind, env, "/h", line.split()) == state


@pytest.mark.parametrize(
    ("script", "venv"),
    [
        ("/home/ann/.local/bin/hermes", "/home/ann/.hermes/hermes-agent/venv"),  # a link
        ("/opt/v/bin/hermes", "/opt/v"),
    ],
)
def test_a_hermes_that_a_unit_starts_by_a_link_is_found_where_the_link_leads(script: str, venv: str) -> None:
    unit = UnitFile(
        name="h.service", scope="user", uid=1000, path="/u/h.service", exec_start=(script, "gateway", "run")
    )
    programs = {script: f"{venv}/bin/hermes"}
    (found,) = discover(Snapshot(uid=0, users=USERS, units=(unit,), places=(HERMES,), programs=programs))
    assert found.install == venv


def test_a_running_hermes_is_installed_where_its_interpreter_is() -> None:
    argv = ("/opt/v/bin/python3", "/home/ann/.local/bin/hermes", "gateway", "run")
    process = Running(pid=9, ppid=1, starttime=1, uid=1000, argv=argv, env={"HOME": "/home/ann"})
    (found,) = discover(Snapshot(uid=0, users=USERS, processes=(process,), places=(HERMES,)))
    assert found.install == "/opt/v"


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/assistant@ann.service\n", ("system", "assistant@ann.service", 0)),
        ("0::/user.slice/user-7.slice/user@7.service/app.slice/x.service\n", ("user", "x.service", 7)),
        ("0::/user.slice/user-7.slice/user@7.service/tmux-spawn-1.scope\n", None),
        ("0::/user.slice/user-7.slice/session-3.scope\n", None),
        ("0::/\n", None),
        ("", None),
    ],
)
def test_the_cgroup_tells_the_unit_that_no_file_named(cgroup: str, unit: tuple[str, str, int] | None) -> None:
    found = former.unit_of(cgroup)
    assert (found and (found.scope, found.name, found.uid)) == unit
