"""A well-written file becomes a fleet in which everything is resolved."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import limits, recipes
from holdfast.errors import HoldfastError
from holdfast.spec.model import AgentSpec, AlertChannel, FleetSpec, HttpProbe


def _load(tmp_path: Path, text: str) -> FleetSpec:
    file = tmp_path / "holdfast.yaml"
    file.write_text(text)
    return recipes.load(file)


def _agent(tmp_path: Path, body: str) -> AgentSpec:
    (agent,) = _load(tmp_path, f"agents:\n  a: {{{body}}}\n").agents
    return agent


def test_a_short_agent_gets_every_default(tmp_path: Path) -> None:
    agent = _agent(tmp_path, "command: [python, loop.py]")
    assert agent == AgentSpec(name="a", command=("python", "loop.py"), working_dir=str(tmp_path))
    assert agent.health.interval_s == limits.PROBE_INTERVAL_S
    assert agent.restart.backoff_s == limits.RESTART_BACKOFF_S
    assert agent.stop.grace_s == limits.STOP_GRACE_S


def test_every_key_arrives_in_its_unit(tmp_path: Path) -> None:
    agent = _agent(
        tmp_path,
        """command: "./bin/run --name 'a b'", working_dir: work, user: 1000, priority: 7, once: true, notify: none,
        env: {A: 1, B: "x", C: 1.10, D: $HOME}, labels: {team/x.y: research},
        limits: {memory: 1.5G, cpus: 0.5, pids: 200, nofile: 1024},
        health: {http: {url: "http://127.0.0.1:8080/h", expect: {status: ok, a.b: 5, up: true}}, interval: 5s,
                 timeout: 250ms, retries: 4, start_period: 1h30m},
        stop: {signal: SIGINT, grace: 2m, hung_grace: 0}, exit_codes: {3: out of work, SIGABRT: heap},
        restart: {backoff: [0s, 500ms], window: 1h, spacing: 10s, retry: 10m}""",
    )
    assert agent.command == (f"{tmp_path}/work/bin/run", "--name", "a b")
    assert agent.working_dir == f"{tmp_path}/work"
    assert (agent.user, agent.priority, agent.once, agent.notify) == ("1000", 7, True, False)
    assert agent.env == {"A": "1", "B": "x", "C": "1.10", "D": "$HOME"}
    assert agent.labels == {"team/x.y": "research"}
    assert (agent.limits.memory_bytes, agent.limits.cpus) == (1_500_000_000, 0.5)
    assert (agent.limits.pids, agent.limits.nofile) == (200, 1024)
    expect: dict[str, str | int | float | bool] = {"status": "ok", "a.b": 5, "up": True}
    assert agent.health.http == HttpProbe(url="http://127.0.0.1:8080/h", expect=expect)
    assert (agent.health.interval_s, agent.health.timeout_s, agent.health.retries) == (5, 0.25, 4)
    assert agent.health.start_period_s == 5400
    assert (agent.stop.signal, agent.stop.grace_s, agent.stop.hung_grace_s) == ("INT", 120, 0)
    assert (agent.restart.backoff_s, agent.restart.window_s) == ((0, 0.5), 3600)
    assert (agent.restart.spacing_s, agent.restart.retry_s) == (10, 600)
    assert agent.exit_codes == {"3": "out of work", "SIGABRT": "heap"}


@pytest.mark.parametrize(
    "body", ["health: off", "health: {http: off}", "health: none", "health: {http: {url: 'http://x/'}}"]
)
def test_health_can_be_switched_off_or_asked_by_a_mapping(tmp_path: Path, body: str) -> None:
    agent = _agent(tmp_path, f"command: [x], {body}")
    assert (agent.health.http is None) == ("url" not in body)


def test_bare_names_are_left_to_path_and_absolute_ones_alone(tmp_path: Path) -> None:
    assert _agent(tmp_path, "command: [python]").command == ("python",)
    assert _agent(tmp_path, "command: [/bin/true]").command == ("/bin/true",)
    assert _agent(tmp_path, "command: [../x/./run]").command == (f"{tmp_path.parent}/x/run",)


def test_a_template_lies_under_the_agent_and_over_the_defaults(tmp_path: Path) -> None:
    fleet = _load(
        tmp_path,
        """
x-limits: &limits {memory: 500M, pids: 10}
defaults: {priority: 1, env: {A: defaults, B: defaults}, stop: {grace: 1s, hung_grace: 1s}}
templates:
  worker:
    command: [./worker]
    limits: {<<: *limits, cpus: 1}
    env: {A: template, C: template}
    stop: {grace: 2s}
agents:
  one: {template: worker, env: {C: own}, limits: {memory: none, pids: 20}, replicas: 2}
  two: {command: [x]}
""",
    )
    first, second, other = fleet.agents
    assert (first.name, second.name) == ("one-1", "one-2")
    assert first.command == (f"{tmp_path}/worker",)
    assert first.env == {"A": "template", "B": "defaults", "C": "own"}
    assert (first.stop.grace_s, first.stop.hung_grace_s) == (2, 1)
    assert (first.limits.memory_bytes, first.limits.cpus, first.limits.pids) == (None, 1, 20)
    assert first.priority == 1
    assert other.env == {"A": "defaults", "B": "defaults"}


def test_an_env_file_lies_under_env_and_all_of_it_is_secret(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text(
        '\ufeff# comment\r\nexport PLAIN=1\nQUOTED=\'a # $b\'\nESCAPED="a\\n\\"b\\""  # why\n\n'
        "EMPTY=\nTAIL=x # y\nURL=a#b\n"
    )
    agent = _agent(tmp_path, "command: [x], env_file: a.env, env: {PLAIN: 2, DB_PASSWORD: x, PORT: 1}")
    assert agent.env == {
        "PLAIN": "2",
        "QUOTED": "a # $b",
        "ESCAPED": 'a\n"b"',
        "EMPTY": "",
        "TAIL": "x",
        "URL": "a#b",
        "DB_PASSWORD": "x",
        "PORT": "1",
    }
    assert agent.secret_env == ("DB_PASSWORD", "EMPTY", "ESCAPED", "QUOTED", "TAIL", "URL")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A\n", "1: env_file: found a line without =, expected NAME=value"),
        ("\n1A=x\n", '2: env_file: found the name "1A", expected a name of A-Z, a-z, 0-9 and _'),
        ("A=1\nA=2\n", "2: A: found the name again (first in line 1), expected each name once"),
        ("A='x\n", "1: A: found a quote that does not close at the end of the line, expected NAME=value"),
        (
            "NOTIFY_SOCKET=x\n",
            "1: NOTIFY_SOCKET: found the name NOTIFY_SOCKET, expected another name: Holdfast sets this one itself",
        ),
        ("A=\0\n", "1: A: found a NUL character or a longer text, expected at most 131071 bytes"),
    ],
)
def test_a_mistake_in_an_env_file_is_told_with_its_own_line(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "a.env").write_text(text)
    with pytest.raises(HoldfastError) as caught:
        _agent(tmp_path, "command: [x], env_file: [a.env]")
    assert caught.value.detail["problems"] == f"{tmp_path}/a.env:{expected}"


def test_an_env_file_that_cannot_be_read_is_told_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.env").write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(HoldfastError) as caught:
        _agent(tmp_path, "command: [x], env_file: [., binary.env]")
    problems = str(caught.value.detail["problems"]).split("\n")
    assert "which cannot be read: it is a directory" in problems[0]
    assert problems[1] == f"{tmp_path}/binary.env:2: env_file: found the byte 0xff, expected UTF-8 text"


def test_alerts_and_last_resort_arrive(tmp_path: Path) -> None:
    fleet = _load(
        tmp_path,
        "version: 1\nagents: {}\nlast_resort: [/sbin/reboot]\n"
        "alerts: [{webhook: https://x.example/h}, {ntfy: https://ntfy.sh/t}, {command: [./tell, me]}]\n",
    )
    assert fleet.agents == ()
    assert fleet.last_resort == ("/sbin/reboot",)
    assert fleet.source == str(tmp_path / "holdfast.yaml")
    assert fleet.alerts == (
        AlertChannel(webhook="https://x.example/h"),
        AlertChannel(ntfy="https://ntfy.sh/t"),
        AlertChannel(command=(f"{tmp_path}/tell", "me")),
    )


def test_names_that_hold_a_secret_word_are_secret(tmp_path: Path) -> None:
    names = ("OPENAI_API_KEY", "GITHUB_TOKEN", "dbPassword", "AWS_SECRET_ACCESS_KEY", "MY_CREDENTIALS", "X_APIKEY")
    plain = ("MONKEY", "KEYBOARD", "MAX_TOKENS", "TOKENIZER", "PATH", "SECRETARY")
    env = ", ".join(f"{name}: x" for name in (*names, *plain))
    agent = _agent(tmp_path, f"command: [x], env: {{{env}, DATABASE: 'postgresql://u:pw@h/db', SITE: 'http://h/'}}")
    assert set(agent.secret_env) == {*names, "DATABASE"}


def test_a_thousand_agents_are_read_in_order(tmp_path: Path) -> None:
    fleet = _load(tmp_path, "agents:\n" + "".join(f"  a{one}: {{command: [x], priority: 5}}\n" for one in range(1000)))
    assert [one.name for one in fleet.agents] == [f"a{one}" for one in range(1000)]


def test_explain_says_where_every_value_comes_from_and_hides_secrets(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("\nTOKEN_OF_FILE=geheim\n")
    file = tmp_path / "holdfast.yaml"
    file.write_text(
        "defaults:\n  priority: 9\ntemplates:\n  w:\n    command: [x]\nagents:\n  a:\n    template: w\n"
        "    env: {API_KEY: geheim, N: 5}\n    env_file: a.env\n    stop: {grace: 90s}\n"
    )
    rows = {one.field: (one.value, one.source) for one in recipes.effective(recipes.read(file))}
    assert rows["priority"] == ("9", f"{file}:2 (defaults)")
    assert rows["command"] == ("x", f"{file}:5 (template w)")
    assert rows["env.API_KEY"] == ("***", f"{file}:9")
    assert rows["env.TOKEN_OF_FILE"] == ("***", f"{tmp_path}/a.env:2")
    assert rows["env.N"] == ("5", f"{file}:9")
    assert rows["stop.grace"] == ("1m30s", f"{file}:11")
    assert rows["restart.backoff"] == ("0s, 10s, 1m", "default")
    assert rows["health.http"] == ("off", "default")
    assert "geheim" not in repr(rows)


@pytest.mark.parametrize(
    ("node", "memory", "reserve"),
    [
        ("", ("all", "default"), ("8%, 256Mi or more", "default")),
        ("node:\n  memory: 4G\n", ("4G", "{file}:2"), ("8%, 256Mi or more", "default")),
        ("node: {memory: 4G, reserve: 512M}\n", ("4G", "{file}:1"), ("512M", "{file}:1")),
        ("node:\n", ("all", "default"), ("8%, 256Mi or more", "default")),
    ],
)
def test_explain_begins_with_the_node(
    tmp_path: Path, node: str, memory: tuple[str, str], reserve: tuple[str, str]
) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text(f"{node}agents: {{a: {{command: [x]}}}}")
    rows = recipes.effective(recipes.read(file))
    assert [(one.agent, one.field) for one in rows[:2]] == [("", "node.memory"), ("", "node.reserve")]
    assert [(one.value, one.source.replace(str(file), "{file}")) for one in rows[:2]] == [memory, reserve]


def test_a_command_is_shown_as_a_shell_would_take_it(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text("agents: {a: {command: [x, 'two words', '$HOME']}}")
    rows = {one.field: one.value for one in recipes.effective(recipes.read(file))}
    assert rows["command"] == "x 'two words' '$HOME'"


def test_every_default_has_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text("agents: {a: {command: [x]}}")
    rows = recipes.effective(recipes.read(file))
    assert all(one.why for one in rows if one.source == "default")
    assert len(rows) == len({one.field for one in rows})


def test_a_command_of_holdfast_itself_is_taken_from_the_directory_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text(
        "agents: {a: {command: [x]}}\nalerts: [{command: [./tell.sh, ./not-a-program]}, {command: [mail-me]}]\n"
        "last_resort: [bin/page, now]\n"
    )
    fleet = recipes.load(file)
    assert fleet.alerts[0].command == (f"{tmp_path}/tell.sh", "./not-a-program")
    assert fleet.alerts[1].command == ("mail-me",)
    assert fleet.last_resort == (f"{tmp_path}/bin/page", "now")
