"""One home with all of Holdfast: guard, init, logger and keeper, asked through the API."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from holdfast import errors
from holdfast.cli import starting
from holdfast.cli.client import KeeperClient
from holdfast.cli.wire import WireError
from holdfast.errors import HoldfastError
from holdfast.node import cgroups
from holdfast.pods import groups
from tests.harness.init_home import PATIENCE_S, InitHome, wait_until

SERVICES = {"keeper": "holdfast.keeper", "logger": "holdfast.logs"}
Row = dict[str, Any]


class PatientClient(KeeperClient):
    """Looks again while no keeper answers: it may be on its way back. What changes something is asked for once."""

    def get(self, path: str, **query: object) -> Any:
        found: list[Any] = []

        def answered() -> bool:
            try:
                found.append(super(PatientClient, self).get(path, **query))
            except HoldfastError as error:
                if error.kind.code != errors.KEEPER_UNREACHABLE.code:
                    raise
            return bool(found)

        wait_until(answered, f"a keeper that answers {path}")
        return found[0]

    def is_up(self) -> bool:
        return KeeperClient(self.home, self.timeout_s).is_up()


class KeeperHome(InitHome):
    """Agents run as our own user; nothing is added to the machine's user database."""

    def __init__(self, below: str | None = None) -> None:
        super().__init__(below=below)
        os.environ["HOLDFAST_USERS"] = "numeric"
        services = {
            name: {"argv": [sys.executable, "-P", "-m", module, "--home", str(self.home.path)]}
            for name, module in SERVICES.items()
        }
        self.home.services.write_text(json.dumps(services))
        self.client = PatientClient(self.home, timeout_s=PATIENCE_S)

    def up(self, *agents: Row, **fleet: Any) -> Row:
        """Start Holdfast unless it runs, and put this fleet."""
        self.start_guard(str(self.home.path), str(self.home.run))
        wait_until(self.client.is_up, "an API that answers")
        return self.put(*agents, **fleet)

    def put(self, *agents: Row, merge: int = 0, **fleet: Any) -> Row:
        body = json.dumps({"agents": list(agents), **fleet}).encode()
        changed: Row = self.client.put("/v1/fleet", body, merge=merge)
        return changed

    def spec(self, name: str, *command: str, **more: Any) -> Row:
        """An agent of our own user, in the home's directory."""
        return {
            "name": name,
            "command": list(command),
            "working_dir": str(self.directory),
            "user": "root" if os.getuid() == 0 else None,
            "stop": {"grace_s": 5.0, "hung_grace_s": 1.0},
            **more,
        }

    def status(self) -> Row:
        """As soon as a keeper answers that has met init: one that has not knows nobody's pid."""

        def look() -> Row | None:
            shown: Row = self.client.get("/v1/status")
            return (
                shown if any(row["name"] == "init" and row["pid"] for row in shown["holdfast"]["processes"]) else None
            )

        found: Row = wait_until(look, "a keeper that has met init")
        return found

    def row(self, name: str) -> Row:
        return next((row for row in self.status()["agents"] if row["name"] == name), {})

    def process(self, name: str) -> Row:
        """One of Holdfast's own processes, as soon as it runs."""

        def running() -> Row | None:
            return next(
                (row for row in self.status()["holdfast"]["processes"] if row["name"] == name and row["pid"]), None
            )

        found: Row = wait_until(running, f"{name} runs")
        return found

    def wait_row(self, name: str, timeout_s: float = PATIENCE_S, **match: Any) -> Row:
        """The agent's row as soon as all of `match` hold (a callable is asked)."""

        def fits() -> Row | None:
            row = self.row(name)
            for key, wanted in match.items():
                good = wanted(row.get(key)) if callable(wanted) else row.get(key) == wanted
                if not good:
                    return None
            return row or None

        try:
            found: Row = wait_until(fits, f"{name} with {match}", timeout_s)
        except AssertionError as never:
            raise AssertionError(f"{never}; it is {self.row(name)}") from None
        return found

    def wait_back(self, name: str, former: int) -> int:
        """The pid of a process of ours that took the place of `former`, told by a keeper that answers."""

        def back() -> int | None:
            pid: int = self.process(name)["pid"]
            return pid if pid != former else None

        found: int = wait_until(back, f"{name} is back")
        return found

    def events(self, **query: Any) -> list[Row]:
        """All of them, or from the start again when a keeper ended in the middle of its answer."""
        whole: list[bytes] = []

        def told() -> bool:
            try:
                whole.append(b"".join(self.client.pieces("/v1/events", {"follow": 0, **query})))
            except (OSError, WireError):
                return False
            except HoldfastError as error:
                if error.kind.code != errors.KEEPER_UNREACHABLE.code:
                    raise
            return bool(whole)

        wait_until(told, "a keeper that tells its events")
        return [json.loads(line) for line in whole[0].splitlines() if line.strip()]

    def incidents(self) -> list[Row]:
        found: list[Row] = self.client.get("/v1/incidents")["incidents"]
        return found

    def is_free(self) -> bool:
        """Whether no guard and no init holds the home any more."""
        return not starting.is_owned(self.home)

    def close(self) -> None:
        """End everything of this home and take its cgroups away."""
        plan = cgroups.choose(self.home.home_id())
        self.destroy()
        groups.close(plan)
