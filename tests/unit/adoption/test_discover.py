"""What a look at a machine means: tables of processes, units and pm2 entries."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.adoption import machine, plan
from holdfast.adoption.discover import discover, kind_of, units_for
from holdfast.adoption.model import Place, Pm2App, Running, Snapshot, UnitFile

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


def test_a_unit_is_read_with_continued_lines_quotes_and_several_environments() -> None:
    text = '[Service]\nUser=ann\nExecStart=-/v/bin/hermes \\\n  gateway run\nEnvironment="A=x y" B=1\nEnvironment=C=2\n'
    assert machine.parse_unit(text) == {
        "exec_start": ("/v/bin/hermes", "gateway", "run"),
        "environment": {"A": "x y", "B": "1", "C": "2"},
        "user": "ann",
    }
