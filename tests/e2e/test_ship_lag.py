"""A log server that takes nothing is told with what waits for it, and shown; it restarts nobody."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from holdfast.logs import rotation, ship_lag
from holdfast.logs.ship_lag import Lag, Lags
from holdfast.logs.wanted import AgentWanted, Wanted
from holdfast.spec.model import Logs, Shipping
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome
from tests.unit.logs.loggers import make_home

IMPATIENT = """
import runpy
from holdfast import limits
limits.SHIP_LAG_SHOWN_S, limits.SHIP_LATE_S, limits.SHIP_LAG_TOLD_EVERY_S = 0.0, 0.5, 0.5
runpy.run_module("holdfast.logs.shipper", run_name="__main__")
"""


def test_a_shipper_tells_of_a_server_that_takes_nothing_until_it_does(tmp_path: Path) -> None:
    make_home(tmp_path, "a", "b")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens here, and nobody else can
        target = Shipping(kind="loki", url=f"http://127.0.0.1:{closed.getsockname()[1]}/?token=secret")
        (tmp_path / "logger").mkdir()
        agents = {name: AgentWanted(logs=Logs(ship=(target,))) for name in ("a", "b")}
        (tmp_path / "logger" / "settings.json").write_bytes(msgspec.json.encode(Wanted(agents=agents)))
        for name in ("a", "b"):
            Path(rotation.path_of(str(tmp_path / "logs" / name), 0)).write_bytes(b"one\ntwo\n")
        command = [sys.executable, "-P", "-c", IMPATIENT, "--home", str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as shipper:
            try:

                def both_late() -> bool:
                    told = ship_lag.read(tmp_path).agents
                    return set(told) == {"a", "b"} and all(lags[0].late and lags[0].why for lags in told.values())

                wait_until(both_late, "a shipper that tells of both agents")
                told = ship_lag.read(tmp_path).agents["b"][0]
                assert told.behind_bytes == 8
                assert "secret" not in (tmp_path / "logger" / ship_lag.FILE).read_text()
            finally:
                shipper.kill()


def test_lines_that_wait_too_long_for_a_server_are_shown_and_restart_nobody() -> None:
    home = KeeperHome()
    try:
        home.up(home.spec("a", "sleep", "1000"))
        home.wait_row("a", pid=bool)
        lag = Lag(kind="loki", server="logs:3100", behind_bytes=8, since_at=1.0, late=True, why="refused")
        assert ship_lag.write(home.home.path, Lags(agents={"a": [lag]}))
        row = home.wait_row("a", why=lambda text: "loki logs:3100 has not taken lines since" in str(text))
        assert (row["health"]["behaviour"], row["restarts"]) == ("off", 0)
        assert home.client.get("/v1/agents/a")["shipping"] == [msgspec.to_builtins(lag)]
        assert ship_lag.write(home.home.path, Lags())
        home.wait_row("a", why=lambda text: "loki" not in str(text))
    finally:
        home.close()
