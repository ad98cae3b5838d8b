"""Real agents under a real keeper, judged by files, logs, pushes and commands: the sick are caught, the well left."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.init_home import PATIENCE_S, wait_until
from tests.harness.keeper_home import KeeperHome
from tests.harness.quick_keeper import QuickHome

Row = dict[str, Any]
SLEEPER = ("sleep", "86400")


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    found = QuickHome()  # on a starved machine silence says nothing
    try:
        yield found
    finally:
        found.close()


def script(home: KeeperHome, name: str, text: str) -> str:
    path = Path(home.directory, name)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def behaviour(row: Row) -> str:
    return str(row["health"]["behaviour"])


def said(home: KeeperHome, name: str, source: str) -> Row:
    """What a source says now, from `describe`."""
    shown = home.client.get(f"/v1/agents/{name}")
    return next((one for one in _observed(shown) if one.get("source") == source), {})


def _observed(value: Any) -> list[Row]:
    if isinstance(value, dict):
        if "source" in value and "judgement" in value:
            return [value]
        return [one for each in value.values() for one in _observed(each)]
    return [one for each in value for one in _observed(each)] if isinstance(value, list) else []


def wait_said(home: KeeperHome, name: str, source: str, judgement: str) -> Row:
    def fits() -> Row | None:
        found = said(home, name, source)
        return found if found.get("judgement") == judgement else None

    found: Row = wait_until(fits, f"{source} of {name} is {judgement}: {said(home, name, source)}")
    return found


def probe_processes(home: KeeperHome) -> list[int]:
    """Everything that carries the mark of a probe of this home."""
    mark = f"HOLDFAST_PROBE={home.home.home_id()}:".encode()
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
            if mark in Path(f"/proc/{entry}/environ").read_bytes() and state not in "ZX":
                found.append(int(entry))
        except OSError:
            continue
    return found


def test_a_loop_that_stops_touching_its_file_is_restarted_and_one_that_goes_on_is_not(home: KeeperHome) -> None:
    loop = script(home, "loop.sh", '#!/bin/sh\ntouch "$1"\n[ "$2" = hang ] && exec sleep 86400\n'
                  'while :; do sleep 0.3; touch "$1"; done\n')  # fmt: skip

    def rule(name: str) -> Row:
        return {"file": {"path": f"{home.directory}/{name}.beat", "max_age_s": 8.0}, "start_period_s": 1.0}

    home.up(
        home.spec("good", loop, f"{home.directory}/good.beat", "beat", health=rule("good")),
        home.spec("hung", loop, f"{home.directory}/hung.beat", "hang", health=rule("hung")),
    )
    home.wait_row("hung", restarts=lambda count: (count or 0) >= 1)
    assert wait_said(home, "good", "file", "ok")
    assert home.row("good")["restarts"] == 0
    assert any("not touched" in row["cause"] for row in home.incidents() if row["agent"] == "hung")


def test_a_command_probe_says_well_degraded_or_failing_and_only_the_last_one_restarts(home: KeeperHome) -> None:
    probe = script(home, "probe.sh", '#!/bin/sh\ncat "$PROBE_STATE.text"; exit "$(cat "$PROBE_STATE")"\n')
    state = Path(home.directory, "state")

    def answer(code: int, text: str) -> None:
        for path, said in ((Path(f"{state}.text"), text), (state, str(code))):
            path.with_suffix(".new").write_text(said)
            path.with_suffix(".new").replace(path)

    answer(0, "fine")
    rule = {"command": {"command": [probe], "interval_s": 1.0, "timeout_s": 30.0, "retries": 2}}
    home.up(home.spec("asked", *SLEEPER, env={"PROBE_STATE": str(state)}, health=rule))
    wait_said(home, "asked", "command", "ok")
    answer(1, "the queue is long\n")
    found = wait_said(home, "asked", "command", "degraded")
    assert found["detail"] == "the queue is long"
    assert home.row("asked")["restarts"] == 0
    answer(3, "dead\n")
    home.wait_row("asked", restarts=lambda count: (count or 0) >= 1)
    answer(0, "fine")
    wait_said(home, "asked", "command", "ok")


def test_a_probe_that_hangs_is_ended_with_all_of_its_tree_and_without_the_agents(home: KeeperHome) -> None:
    probe = script(home, "hang.sh", "#!/bin/sh\nsetsid sleep 86399 &\nsleep 86398 & sleep 86397\n")
    rule = {"command": {"command": [probe], "interval_s": 1.0, "timeout_s": 0.5, "retries": 1000}}
    home.up(home.spec("asked", *SLEEPER, health=rule))
    row = home.wait_row("asked", pid=lambda pid: bool(pid))
    wait_until(lambda: probe_processes(home), "a probe that runs")
    assert "no answer in" in wait_said(home, "asked", "command", "degraded")["detail"]
    home.put(home.spec("asked", *SLEEPER))
    wait_until(lambda: not probe_processes(home), "nothing of the probe is left")
    assert home.row("asked")["pid"] == row["pid"]


def test_probes_end_with_a_killed_keeper_and_none_is_left(home: KeeperHome) -> None:
    probe = script(home, "hang.sh", "#!/bin/sh\nsetsid sleep 86399 &\nsleep 86398\n")
    rule = {"command": {"command": [probe], "interval_s": 1.0, "timeout_s": 3600.0}}
    home.up(home.spec("asked", *SLEEPER, health=rule))
    wait_until(lambda: len(probe_processes(home)) >= 2, "a probe that runs")
    before = set(probe_processes(home))
    pid = home.row("asked")["pid"]
    keeper = home.process("keeper")["pid"]
    home.put(home.spec("asked", *SLEEPER), merge=1)  # no new probe by the next keeper
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not before & set(probe_processes(home)), "the probes of the killed keeper are gone")
    home.wait_back("keeper", keeper)
    assert home.row("asked")["pid"] == pid


def test_an_agent_that_falls_silent_and_one_that_prints_its_end_are_restarted(home: KeeperHome) -> None:
    chatty = "while :; do echo working; sleep 0.2; done"
    home.up(
        home.spec("chatty", "sh", "-c", chatty, health={"log": {"silence_s": 30.0}}),
        home.spec("silent", "sh", "-c", "echo once; sleep 1; echo twice; exec sleep 86400",
                  health={"log": {"silence_s": 2.0}}),
        home.spec("doomed", "sh", "-c", "sleep 2; echo 'database disk image is malformed'; exec sleep 86400",
                  health={"log": {"patterns": [{"pattern": "disk image is malformed", "then": "failing"}]}}),
    )  # fmt: skip
    home.wait_row("silent", restarts=lambda count: (count or 0) >= 1)
    home.wait_row("doomed", restarts=lambda count: (count or 0) >= 1)
    assert wait_said(home, "chatty", "log", "ok")
    assert home.row("chatty")["restarts"] == 0
    causes = {row["agent"]: row["cause"] for row in home.incidents()}
    assert "no line for" in causes["silent"]
    assert "malformed" in causes["doomed"]


def ask(url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, data=body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_pushes_in_both_shapes_are_taken_for_what_they_say(home: KeeperHome) -> None:
    rule = {"push": {"every_s": 60.0, "grace_s": 30.0}}
    tell = (
        f'printf %s "$HOLDFAST_PUSH_URL" > {home.directory}/url.new; mv {home.directory}/url.new {home.directory}/url; '
    )
    home.up(home.spec("job", "sh", "-c", tell + "exec sleep 86400", health=rule), home.spec("other", *SLEEPER))
    home.wait_row("job", phase="healthy")
    urls = home.client.get("/v1/agents/job/push")
    url = wait_until(
        lambda: Path(home.directory, "url").exists() and Path(home.directory, "url").read_text(), "its URL"
    )
    assert url == urls["url"]
    assert stat.S_IMODE(os.stat(home.home.path / "push.json").st_mode) == 0o600
    wait_said(home, "job", "push", "unknown")
    for method, body in (("GET", None), ("HEAD", None), ("POST", b"x" * 200_000)):
        assert ask(url, method, body)[0] == 200
    wait_said(home, "job", "push", "ok")
    assert ask(f"{url}/start") == (200, "OK")
    assert ask(f"{url}/log", "POST", b"a word") == (200, "OK")
    assert ask(f"{urls['kuma_url']}?status=up&msg=OK&ping=12") == (200, json.dumps({"ok": True}))
    nobody = "/ping/00000000-0000-4000-8000-000000000000"
    root = url.split("/ping/")[0]
    for path in (nobody, "/", "/v1/status", "/ping/", "/ping/../v1/status", f"{nobody}/../../v1/status"):
        assert ask(root + path)[0] == 404
    assert ask(f"{root}/api/push/00000000-0000-4000-8000-000000000000?status=up")[0] == 404
    assert ask(f"{url}/256")[0] == 400
    instance = home.row("job")["instance"]
    assert ask(f"{url}/3", "POST", f"out of \x1b[31mmemory at {url}\n".encode())[0] == 200
    home.wait_row("job", instance=lambda number: number > instance)
    assert any("exit 3: out of" in row["cause"] for row in home.incidents())
    token = url.rpartition("/")[2]
    assert token not in json.dumps(home.client.get("/v1/agents/job")) + json.dumps(home.events())
    home.put(home.spec("other", *SLEEPER))
    wait_until(lambda: not listens(int(root.rpartition(":")[2])), "the door for pushes is shut")


def listens(port: int) -> bool:
    needle = f":{port:04X} 00000000:0000 0A"
    return any(needle in line for line in Path("/proc/net/tcp").read_text().splitlines())


def test_the_port_and_token_outlive_the_keeper(home: KeeperHome) -> None:
    home.up(home.spec("job", *SLEEPER, health={"push": {"every_s": 60.0}}))
    home.wait_row("job", phase="healthy")
    url = home.client.get("/v1/agents/job/push")["url"]
    keeper = home.process("keeper")["pid"]
    os.kill(keeper, signal.SIGKILL)
    home.wait_back("keeper", keeper)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert ask(url) == (200, "OK")
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert home.client.get("/v1/agents/job/push")["url"] == url
    wait_said(home, "job", "push", "ok")
