"""Every key of behaviour, plans, logs and resources: short form, long form, and what they mean."""

# ruff: noqa: E501
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast import limits, recipes
from holdfast.errors import HoldfastError
from holdfast.spec import times
from holdfast.spec.build import build, settings_of
from holdfast.spec.model import (
    AgentSpec,
    AskMemory,
    CommandProbe,
    FileBeat,
    Idle,
    LogPattern,
    LogWatch,
    Maintenance,
    Memory,
    Node,
    PlannedTime,
    PushBeat,
    Scaling,
    Shipping,
)
from holdfast.spec.recipe import Given

NEVER = limits.SHARE_NEVER
BERLIN_4 = PlannedTime(hour=4, minute=0, zone="Europe/Berlin")
SUNDAY_3 = PlannedTime(hour=3, minute=0, zone="UTC", days=(6,))


def _agent(tmp_path: Path, body: str, top: str = "") -> AgentSpec:
    file = tmp_path / "holdfast.yaml"
    file.write_text(f"{top}agents:\n  a: {{command: [x], {body}}}\n")
    return recipes.load(file).agents[0]


def _value(spec: AgentSpec, name: str) -> Any:
    for part in name.split("."):
        spec = getattr(spec, part)
    return spec


@pytest.mark.parametrize(
    ("body", "name", "value"),
    [
        ("health: {beat: 60s}", "health.beat_s", 60.0),
        ("health: {beat: off}", "health.beat_s", None),
        ("health: {busy_max: 2h}", "health.busy_max_s", 7200.0),
        ("health: {file: beat}", "health.file", FileBeat(path="DIR/beat", max_age_s=120.0)),
        ("health: {file: {path: /x, max_age: 5m}}", "health.file", FileBeat(path="/x", max_age_s=300.0)),
        ("health: {command: ./ask now}", "health.command", CommandProbe(command=("DIR/ask", "now"))),
        ("health: {command: [python3, ask.py]}", "health.command", CommandProbe(command=("python3", "ask.py"))),
        (
            "health: {command: {command: [ask], interval: 5m, timeout: 30s, retries: 1}}",
            "health.command",
            CommandProbe(command=("ask",), interval_s=300.0, timeout_s=30.0, retries=1),
        ),
        (
            "health: {log: [ERROR, a+b]}",
            "health.log",
            LogWatch(patterns=(LogPattern(pattern="ERROR"), LogPattern(pattern="a+b"))),
        ),
        ("health: {log: {silence: 10m}}", "health.log", LogWatch(silence_s=600.0)),
        (
            "health: {log: {silence: off, patterns: [{pattern: x, then: failing, count: 3, within: 5m}]}}",
            "health.log",
            LogWatch(patterns=(LogPattern(pattern="x", then="failing", count=3, within_s=300.0),)),
        ),
        ("health: {push: 5m}", "health.push", PushBeat(every_s=300.0, grace_s=60.0)),
        ("health: {push: {every: 1h, grace: 0}}", "health.push", PushBeat(every_s=3600.0, grace_s=0.0)),
        ("health: {function: off}", "health.function", False),
        ("health: {function: on}", "health.function", True),
        ("health: {function: {interval: 30s}}", "health.function_interval_s", 30.0),
        ("health: off", "health.function", False),
        ('restart: {at: "04:00 Europe/Berlin"}', "restart.at", (BERLIN_4,)),
        ('restart: {at: ["04:00 Europe/Berlin", "Sun 03:00 UTC"]}', "restart.at", (BERLIN_4, SUNDAY_3)),
        ("restart: {at: off}", "restart.at", ()),
        ("restart: {when_idle: true}", "restart.when_idle", True),
        ("restart: {when_idle: {wait: 10m}}", "restart.idle_wait_s", 600.0),
        ("restart: {when_idle: false}", "restart.when_idle", False),
        ("maintenance: on", "maintenance", Maintenance(on=True)),
        ("maintenance: off", "maintenance", Maintenance()),
        (
            'maintenance: {windows: ["Sun 03:00 UTC"], length: 2h}',
            "maintenance",
            Maintenance(windows=(SUNDAY_3,), length_s=7200.0),
        ),
        ("logs: {max_size: 100M}", "logs.max_size_bytes", 100_000_000),
        ("logs: {max_files: 3}", "logs.max_files", 3),
        ("logs: {max_age: 30d}", "logs.max_age_s", 2_592_000.0),
        ("logs: {max_age: 365d}", "logs.max_age_s", 365 * 86_400.0),
        ("logs: {total: 1G}", "logs.total_bytes", 1_000_000_000),
        ("logs: {total: off}", "logs.total_bytes", None),
        ("logs: {rate: 500}", "logs.rate_lines_s", 500),
        ("logs: {rate: off}", "logs.rate_lines_s", None),
        ("logs: {files: ['*.log', /var/x/*.txt], files_max: 1M}", "logs.files", ("DIR/*.log", "/var/x/*.txt")),
        (
            'logs: {ship: [{syslog: "udp://h:514"}, {syslog: "unix:///dev/log"}, {loki: "http://h/", headers: {A: b}}]}',
            "logs.ship",
            (
                Shipping(kind="syslog", url="udp://h:514"),
                Shipping(kind="syslog", url="unix:///dev/log"),
                Shipping(kind="loki", url="http://h/", headers={"A": "b"}),
            ),
        ),
        ("resources: {memory: [60%, 0.9]}", "resources.memory_alarm", 0.9),
        ("resources: {memory: off}", "resources.memory_warn", NEVER),
        ("resources: {cpu: 250%, cpu_for: 10m}", "resources.cpu", 2.5),
        ("resources: {disk: 95 %}", "resources.disk", 0.95),
        ("resources: {disk_bytes: 20G}", "resources.disk_bytes", 20_000_000_000),
        ("resources: {processes: 500}", "resources.processes", 500),
        ("resources: {descriptors: off}", "resources.descriptors", NEVER),
        ("resources: off", "resources.disk", NEVER),
        ("resources: off", "resources.memory_alarm", NEVER),
        ("memory: {min: 300M, start: 1.2G}", "memory", Memory(min_bytes=300_000_000, start_bytes=1_200_000_000)),
        ("memory: {min: none, start: none}", "memory", Memory()),
        ("memory: {ask: USR2}", "memory.ask", AskMemory(signal="SIGUSR2")),
        ("memory: {ask: 'http://127.0.0.1:8/gc'}", "memory.ask", AskMemory(url="http://127.0.0.1:8/gc")),
        ("memory: {ask: [./free, now]}", "memory.ask", AskMemory(command=("./free", "now"))),
        ("memory: {ask: off}", "memory.ask", None),
        ("idle: {after: 5m, action: freeze}", "idle", Idle(after_s=300.0, action="freeze")),
        ("idle: {action: stop}", "idle", Idle(action="stop")),
        ("idle: off", "idle", Idle()),
    ],
)
def test_a_key_means_what_it_says(tmp_path: Path, body: str, name: str, value: object) -> None:
    found = _value(_agent(tmp_path, body), name)
    assert repr(found).replace(str(tmp_path), "DIR") == repr(value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("health: {beat: 10min}", 'health.beat: found "10min", expected a duration from 1s to 1d, such as 10s or 1h30m, or off, did you mean 10m'),
        ("health: {beat: 60s}, notify: none", "health.beat: found beats without a socket for them, expected no notify: false, or no beat"),
        ("health: {file: {max_age: 5s}}", "health.file: found a mapping without path, expected the key path"),
        ("health: {command: {retries: 0, command: [x]}}", "health.command.retries: found the number 0, expected a whole number from 1 to 100"),
        ("health: {command: {comand: [x]}}", 'health.command.comand: found the unknown key "comand", expected one of command, interval, retries, timeout, did you mean command'),
        ("health: {log: {}}", "health.log: found neither of them, expected silence, patterns, or both"),
        ("health: {log: ['(a']}", 'health.log.0: found "(a" (missing ), unterminated subpattern at position 0), expected a regular expression'),
        ("health: {log: ['a*']}", 'health.log.0: found "a*", expected an expression that does not match every line'),
        ("health: {log: [{pattern: x, then: fail}]}", 'health.log.0.then: found "fail", expected degraded or failing, did you mean failing'),
        ("health: {push: true}", "health.push: found the boolean true, expected a duration"),
        ("health: {function: 60s}", 'health.function: found "60s", expected on, off, or {interval: 60s}'),
        ("restart: {at: 4am}", 'restart.at: found "4am", expected a time such as 04:00, 04:00 Europe/Berlin or Mon-Fri 04:00 UTC, did you mean 04:00'),
        ("restart: {at: '04:00 Europe/Berln'}", "did you mean 04:00 Europe/Berlin"),
        ("restart: {at: ['Son 04:00']}", "restart.at.0: found \"Son 04:00\", expected a time such as 04:00, 04:00 Europe/Berlin or Mon-Fri 04:00 UTC, did you mean Sun 04:00"),
        ("restart: {when_idle: 1h}", 'restart.when_idle: found "1h", expected true, false, or {wait: 1h}'),
        ("maintenance: {length: 2h}", "maintenance: found a mapping without windows, expected the key windows"),
        ("maintenance: sunday", 'maintenance: found "sunday", expected on, off, or windows such as'),
        ("logs: {max_size: 100}", "logs.max_size: found the number 100, expected a size such as 500M or 1.5G, at least 64Ki, did you mean 100M"),
        ("logs: {rate: fast}", 'logs.rate: found "fast", expected a whole number from 1 to 10000000, or off'),
        ("logs: {ship: {loki: x}}", "logs.ship: found a mapping, expected a list of at most 8, such as [{syslog: udp://127.0.0.1:514}]"),
        ("logs: {ship: [{loki: 'http://h/', otlp: 'http://h/'}]}", "logs.ship.0: found a mapping, expected exactly one of syslog: URL, loki: URL, otlp: URL"),
        ("logs: {ship: [{syslog: '127.0.0.1:514'}]}", "did you mean udp://127.0.0.1:514"),
        ("logs: {ship: [{syslog: 'udp://h:1', headers: {A: b}}]}", "logs.ship.0: found headers, expected no headers: syslog has none"),
        ("logs: {ship: [{loki: 'http://h/', headers: {'A B': b}}]}", 'logs.ship.0.headers.A B: found the name "A B", expected the name of an HTTP header'),
        ("resources: {memory: 80%}", 'resources.memory: found "80%", expected two shares of limits.memory such as [70%, 80%], or off'),
        ("resources: {memory: [80%, 70%]}", "resources.memory: found a warning above the alarm"),
        ("resources: {cpu: 90}", "resources.cpu: found the number 90, expected a share from 1% to 409600%, such as 80%, or off, did you mean 90%"),
        ("resources: {disk: 110%}", "resources.disk: found \"110%\", expected a share from 1% to 100%"),
        ("resources: on", "resources: found the boolean on, expected a mapping with cpu, cpu_for, descriptors, disk, disk_bytes, memory, processes, or off"),
    ],
)  # fmt: skip
def test_a_wrong_value_says_what_was_expected(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        _agent(tmp_path, body)
    assert said in str(caught.value.detail["problems"])
    assert caught.value.detail["count"] == 1


def test_replicas_that_follow_a_queue_are_as_many_agents_as_the_most(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text(
        "node: {memory: 4G, reserve: 512M}\nagents:\n  a: {command: [x], replicas: {max: 3, per_queue_depth: 2.5}}\n"
        "  b: {command: [x], depends_on: [a]}\n"
    )
    loaded = recipes.read(file)
    assert loaded.fleet.node == Node(memory_bytes=4_000_000_000, reserve_bytes=512_000_000)
    second = next(one for one in loaded.fleet.agents if one.name == "a-2")
    assert second.scaling == Scaling(group="a", number=2, least=1, most=3, per_queue_depth=2.5)
    assert [need.agent for need in loaded.fleet.agents[-1].depends_on] == ["a-1", "a-2", "a-3"]
    shown = {one.field: one.value for one in recipes.effective(loaded) if one.agent == "a-2"}
    assert shown["replicas"] == "1 to 3, one for each 2.5 that wait (this is number 2)"
    settings = settings_of(second)
    again = build("a-2", "process", settings, Given(), (), str(tmp_path))
    assert (again, settings_of(again)) == (second, settings)


def test_a_contradiction_with_a_limit_of_the_defaults_names_what_stands_nearer(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError) as caught:
        _agent(tmp_path, "limits: {memory: 100M}", "defaults: {memory: {min: 200M}}\n")
    assert "1: defaults.memory.min: found min 200M" in str(caught.value.detail["problems"])
    assert _agent(tmp_path, "idle: {action: stop}", "defaults: {idle: {after: 1h}}\n").idle.after_s == 3600


def test_beats_asked_for_by_defaults_are_not_due_where_there_is_no_socket(tmp_path: Path) -> None:
    assert _agent(tmp_path, "notify: false", "defaults: {health: {beat: 60s}}\n").health.beat_s is None
    assert _agent(tmp_path, "once: false", "defaults: {health: {beat: 60s}}\n").health.beat_s == 60


def test_without_a_zone_a_time_is_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert _agent(tmp_path, "restart: {at: 14:30}").restart.at == (PlannedTime(hour=14, minute=30, zone="Asia/Tokyo"),)
    monkeypatch.setenv("TZ", "Nowhere/Else")
    assert times.is_zone(_agent(tmp_path, 'restart: {at: "4:00"}').restart.at[0].zone)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Sun", (6,)),
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("Sat-Mon", (0, 5, 6)),
        ("Wednesday,Sun", (2, 6)),
        ("Sun-Sat", tuple(range(7))),
    ],
)
def test_days_are_read_as_people_write_them(text: str, days: tuple[int, ...]) -> None:
    assert times.parse_days(text) == days
    shown = times.show(PlannedTime(hour=4, minute=5, zone="UTC", days=days))
    assert times.parse(shown, "UTC") == PlannedTime(hour=4, minute=5, zone="UTC", days=days)


@pytest.mark.parametrize(
    "text", ["", "24:00", "04:60", "04:00 UTC UTC", "a b 04:00", "04:00 /etc/passwd", "04:00 ..", "UTC 04:00", "٠٤:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        times.parse(text, "UTC")


def test_settings_become_a_specification_and_back(tmp_path: Path) -> None:
    spec = _agent(
        tmp_path,
        """user: u, labels: {a: b}, env: {A: b}, limits: {memory: 1G}, exit_codes: {3: x}, maintenance: on,
        health: {beat: 1m, file: f, command: [x], log: [x], push: 5m, function: off},
        restart: {at: "04:00 UTC", when_idle: true}, logs: {rate: off, files: a}, resources: {memory: off},
        memory: {min: 1M, ask: SIGHUP}, idle: {action: freeze}""",
    )
    values = settings_of(spec)
    again = build(spec.name, spec.recipe, values, Given(ask_codes=spec.ask_codes), spec.secret_env, str(tmp_path))
    assert again == spec
    assert settings_of(again) == values


def test_explain_shows_every_new_value_with_its_source_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    file.write_text(
        """
defaults: {health: {beat: 60s}}
agents:
  a:
    command: [x]
    restart: {at: "Mon-Fri 04:00 UTC"}
    health: {push: 5m, log: {silence: 10m, patterns: [{pattern: "x y", then: failing, count: 2}]}}
    logs: {ship: [{loki: "http://u:geheim@h/", headers: {Authorization: geheim}}]}
    maintenance: {windows: ["Sun 03:00 UTC"]}
    depends_on: {b: healthy}
    resources: {cpu: off}
  b: {command: [x]}
"""
    )
    rows = {one.field: (one.value, one.source) for one in recipes.effective(recipes.read(file)) if one.agent == "a"}
    assert rows["health.beat"] == ("1m", f"{file}:2 (defaults)")
    assert rows["restart.at"] == ("Mon-Fri 04:00 UTC", f"{file}:6")
    assert rows["health.push"][0] == "every 5m, 1m late at most"
    assert rows["health.log"][0] == "silent for 10m: failing, /x y/ 2 in 1m: failing"
    assert rows["logs.ship"][0] == "loki http://***@h/ with Authorization"
    assert rows["maintenance"][0] == "Sun 03:00 UTC, for 1h"
    assert rows["depends_on"] == ("b healthy", f"{file}:10")
    assert rows["resources.cpu"] == ("off", f"{file}:11")
    assert rows["resources.memory"] == ("70%, 80%", "default")
    assert rows["logs.max_size"] == ("100Mi", "default")
    assert "geheim" not in repr(rows)


def test_the_picture_of_a_whole_file_is_read_but_for_what_comes_later(tmp_path: Path) -> None:
    text = """
version: 1
x-note: &team {team: research}
defaults: {probation: {config: 60s, release: 10m}}
templates: {worker: {command: [./worker], limits: {memory: 500M, cpus: 1, pids: 200}}}
agents:
  assistant: {recipe: openclaw, command: [x], openclaw: {state_dir: s}, priority: 100, restart: {at: "04:00 Europe/Berlin"}}
  loop:
    command: [.venv/bin/python, loop.py]
    working_dir: ./loop
    env_file: loop.env
    health: {beat: 60s}
    state: {paths: [data], every: 60s}
    labels: *team
  crew: {template: worker, replicas: 3}
"""
    (tmp_path / "loop.env").write_text("A=1")
    file = tmp_path / "holdfast.yaml"
    file.write_text(text)
    with pytest.raises(HoldfastError) as caught:
        recipes.load(file)
    lines = str(caught.value.detail["problems"]).replace(f"{file}:", "").split("\n")
    assert lines == [
        "4: defaults.probation: found the reserved key probation, expected nothing yet: probation of changes will come with a later version",
    ]
    file.write_text("\n".join(line for line in text.split("\n") if "probation" not in line))
    agents = recipes.load(file).agents
    assert [one.name for one in agents] == ["assistant", "loop", "crew-1", "crew-2", "crew-3"]
    assert agents[0].restart.at == (BERLIN_4,)
    assert agents[1].state.paths == (str(tmp_path / "data"),)
    assert agents[1].state.every_s == 60.0
    assert agents[0].state.paths == (str(tmp_path / "s"),)
    assert "/cache/" in agents[0].state.exclude
