"""What setup offers, by tables of surroundings; compose files; the first holdfast.yaml with every comment tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.adoption import compose, first_file, proposal
from holdfast.adoption.first_file import Candidate, Channel
from holdfast.adoption.model import Found
from holdfast.adoption.surroundings import Busy, Elsewhere, Script, Surroundings
from holdfast.recipes import load

OPENCLAW = Found(
    kind="openclaw", uid=1000, user="ann", home_dir="/home/ann", state_dir="/home/ann/.openclaw", config="c", port=1
)
NODE_AND_PYTHON = ("python3", "node")


def seen(**more: Any) -> Surroundings:
    return Surroundings(**{"directory": "/p", "name": "p", "programs": NODE_AND_PYTHON, **more})


def scripts(*names: str) -> tuple[Script, ...]:
    return tuple(Script(name=name.strip("*!"), is_main="*" in name, executable="!" in name) for name in names)


@pytest.mark.parametrize(
    ("around", "first"),
    [
        ({"scripts": scripts("main.py", "setup.py")}, {"recipe": "python", "python": {"script": "main.py"}}),
        ({"scripts": scripts("a.py", "z.py*")}, {"recipe": "python", "python": {"script": "z.py"}}),
        (
            {"scripts": scripts("agent.py"), "venv": ".venv"},
            {"recipe": "python", "python": {"venv": ".venv", "script": "agent.py"}},
        ),
        (
            {"venv": ".venv", "commands": ("my-bot",)},
            {"command": [".venv/bin/my-bot"], "env": {"PYTHONUNBUFFERED": "1"}},
        ),
        ({"modules": ("crew",)}, {"recipe": "python", "python": {"module": "crew"}}),
        (
            {"package_start": "node bot.mjs --fast"},
            {"recipe": "node", "node": {"script": "bot.mjs", "args": ["--fast"]}},
        ),
        (
            {"package_start": "tsc && node x.js", "scripts": scripts("index.js")},
            {"recipe": "node", "node": {"script": "index.js"}},
        ),
        (
            {"package_main": "./lib.mjs", "scripts": scripts("lib.mjs")},
            {"recipe": "node", "node": {"script": "lib.mjs"}},
        ),
        ({"scripts": scripts("run.sh!", "other.sh!", "start.sh")}, {"command": ["./run.sh"]}),
        (
            {"scripts": scripts("main.py"), "user": "ann"},
            {"recipe": "python", "python": {"script": "main.py"}, "user": "ann"},
        ),
        (
            {"scripts": scripts("main.py"), "env_file": ".env"},
            {"recipe": "python", "python": {"script": "main.py"}, "env_file": [".env"]},
        ),
    ],
)  # fmt: skip
def test_a_project_is_started_as_its_owner_would(around: dict[str, Any], first: dict[str, Any]) -> None:
    offer = proposal.offers(seen(**around))[0]
    assert (offer.kind, offer.candidates[0].body) == ("file", first)


@pytest.mark.parametrize(
    "around",
    [{}, {"scripts": scripts("a.py", "b.py", "notes.sh")}, {"scripts": scripts("main.py"), "programs": ()}],
)
def test_nothing_is_made_up_where_nothing_is_certain(around: dict[str, Any]) -> None:
    assert [one.kind for one in proposal.offers(seen(**around))] == ["command", "nothing"]


@pytest.mark.parametrize(
    ("argv", "runs"),
    [
        (("python3", "main.py"), True),
        (("/v/bin/python", "-u", "/p/main.py"), True),
        (("vim", "main.py"), False),
        (("python3", "other.py"), False),
        (("uv", "run", "main.py"), True),
    ],
)
def test_a_program_that_runs_already_is_declared_but_not_started_a_second_time(
    argv: tuple[str, ...], runs: bool
) -> None:
    offer = proposal.offers(seen(scripts=scripts("main.py"), busy=(Busy(pid=7, argv=argv),)))[0]
    assert bool(offer.needs) is runs
    assert not runs or "7" in offer.needs[0]


def test_an_existing_file_is_started_and_never_replaced() -> None:
    found = proposal.offers(seen(file="/p/holdfast.yaml", scripts=scripts("main.py"), gateways=(OPENCLAW,)))
    assert [one.kind for one in found] == ["up", "adopt", "nothing"]


def test_a_gateway_is_offered_first_and_never_adopted_without_being_asked() -> None:
    found = proposal.offers(seen(gateways=(OPENCLAW,), scripts=scripts("main.py")))
    assert [one.kind for one in found] == ["adopt", "file", "command", "nothing"]
    safest = proposal.safest(found)
    assert safest is not None
    assert safest.kind == "file"
    assert proposal.safest(proposal.offers(seen(gateways=(OPENCLAW,)))) is None


def test_what_can_be_started_as_it_is_is_safer_than_what_needs_a_hand() -> None:
    app = Elsewhere(by="pm2", name="old", argv=("node", "old.js"), stop="pm2 stop old && pm2 save")
    found = proposal.offers(seen(elsewhere=(app,), scripts=scripts("main.py", "run.sh!")))
    safest = proposal.safest(found)
    assert safest is not None
    assert not safest.needs
    only = proposal.safest(proposal.offers(seen(elsewhere=(app,))))
    assert only is not None
    assert "pm2 stop old" in only.needs[0]


@pytest.mark.parametrize(
    ("one", "like"),
    [
        (Elsewhere(by="systemd", name="my-agent.service", argv=("/opt/x/run",)), True),
        (Elsewhere(by="systemd", name="a.service", argv=("python3", "-m", "langgraph_app")), True),
        (Elsewhere(by="systemd", name="a.service", argv=("/srv/x",), cwd="/p/sub"), True),
        (Elsewhere(by="systemd", name="nginx.service", argv=("/usr/sbin/nginx",)), False),
        (Elsewhere(by="cron", name="@reboot", argv=("/usr/bin/bottle",)), False),
        (Elsewhere(by="supervisor", name="bot", argv=("/srv/bot",)), True),
        (Elsewhere(by="pm2", name="web", argv=("node", "w.js")), True),
        (Elsewhere(by="pm2", name="h", argv=("/v/bin/hermes", "gateway", "run")), False),  # a gateway of its own kind
    ],
)
def test_what_others_start_is_agent_like_by_its_words_or_its_place(one: Elsewhere, like: bool) -> None:
    assert bool(proposal.agent_like(seen(elsewhere=(one,)))) is like


def test_a_typed_command_gets_a_name_and_a_wrong_one_is_refused() -> None:
    made = proposal.of_command("python3 'my loop.py' --x", seen())
    assert made is not None
    assert (made.name, made.body) == ("my-loop", {"command": ["python3", "my loop.py", "--x"]})
    assert proposal.of_command("'", seen()) is None
    assert proposal.of_command("  ", seen()) is None


# --- compose ---------------------------------------------------------------------------------------------------------
COMPOSE = """\
name: shop
services:
  crawl:
    image: example.org/crawl:1
    command: --forever "two words"
    environment: {LEVEL: info, API_KEY: s3cret, FROM: "${X}"}
    env_file: crawl.env
    ports: ["127.0.0.1:8080:80"]
    volumes: [data:/data, ./conf:/conf:ro]
"""


def test_a_service_becomes_a_container_and_its_secrets_stay_where_they_are() -> None:
    (one,) = compose.services(COMPOSE, "p")
    assert (one.image, one.command) == ("example.org/crawl:1", ("--forever", "two words"))
    assert one.env == {"LEVEL": "info"}
    assert one.volumes == ("shop_data:/data", "./conf:/conf:ro")
    assert "s3cret" not in repr(one)
    assert {"the value of API_KEY, in an env_file", "the value of FROM, in an env_file"} <= set(one.missing)
    offer = proposal.offers(seen(services=(one,), compose_file="compose.yaml", programs=("podman",)))[0]
    body = offer.candidates[0].body
    assert body["container"]["ports"] == ["127.0.0.1:8080:80"]
    assert any("docker compose stop crawl" in each for each in offer.needs)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("services: {a: {build: .}}", "built"),
        ("services: {a: {image: x, deploy: {replicas: 2}}}", "`deploy`"),
        ("services: {a: {image: x}, b: {image: y}}", "network"),
        ("services: {a: {image: 'x:${V}'}}", "variables"),
    ],
)
def test_what_cannot_be_carried_over_is_named(text: str, missing: str) -> None:
    assert any(missing in each for each in compose.services(text, "p")[0].missing)


@pytest.mark.parametrize("text", ["", "a: [", "- a", "services: []", "services: {a: 1}"])
def test_a_text_that_is_no_compose_file_has_no_services(text: str) -> None:
    assert compose.services(text, "p") == ()


# --- the file --------------------------------------------------------------------------------------------------------
ONE = Candidate(
    name="loop", body={"command": ["sleep", "9"], "env": {"A": "yes", "B": "x: {y}"}}, found="your\ncommand"
)


CHANNELS = [None, Channel(kind="ntfy", value="https://n.example/a#b"), Channel(kind="command", value=["a b", "#c"])]


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_first_file_is_valid_and_stays_so_with_any_comment_taken_away(
    tmp_path: Path, channel: Channel | None
) -> None:
    file = tmp_path / "holdfast.yaml"
    (tmp_path / "loop.env").write_text("A=1\n")
    text = first_file.text(
        (ONE, Candidate(name="b", body={"command": ["true"]}, found="b", needs=("a hand",))), channel
    )
    file.write_text(text)
    fleet = load(file)
    assert [one.name for one in fleet.agents] == ["loop", "b"]
    assert fleet.agents[0].env["A"] == "yes"
    assert fleet.agents[0].env["B"] == "x: {y}"
    lines = text.splitlines()
    offs = {setting.replace("{name}", "loop") for _, _, setting in first_file.HINTS}
    settings = [number for number, line in enumerate(lines) if line.strip().removeprefix("# ") in offs]
    assert len(settings) == len(first_file.HINTS)
    for number in settings:
        file.write_text("\n".join([*lines[:number], lines[number].replace("# ", "", 1), *lines[number + 1 :]]))
        load(file)
    if channel is None:
        file.write_text(text.replace("# alerts:\n#   - ntfy", "alerts:\n  - ntfy"))
        assert load(file).alerts
    else:
        assert len(fleet.alerts) == 1


@pytest.mark.parametrize("text", ["version: 1\nagents: {a: {command: x}}", "agents:\n  a: {command: x}  # end\n\n"])
def test_alerts_are_added_at_the_end_and_nothing_else_changes(text: str) -> None:
    after = first_file.with_alerts(text, Channel(kind="webhook", value="https://x.example/"))
    assert after is not None
    assert after.startswith(text)
    assert yaml.safe_load(after)["alerts"] == [{"webhook": "https://x.example/"}]


@pytest.mark.parametrize("text", ["alerts: []\n", "{agents: {}}\n", "a: [\n", "- a\n", "x: |\n  text\n---\n"])
def test_alerts_are_not_forced_into_a_file_that_cannot_take_them(text: str) -> None:
    assert first_file.with_alerts(text, Channel(kind="webhook", value="https://x.example/")) is None
