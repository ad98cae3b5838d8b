"""Having a running Holdfast take the code this command comes from, with every agent left alone.

init is re-executed in place (it proves as a child first that the new code can read its journal), then keeper and logger
are restarted. An init that is too old to be asked is told to leave, and a new guard adopts. Called by
`holdfast service reload` and `holdfast upgrade`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from typing import Any

from holdfast import errors
from holdfast.cli import starting
from holdfast.cli.client import KeeperClient
from holdfast.cli.taking_over import take_over
from holdfast.errors import HoldfastError
from holdfast.home import Home

ANSWER_MAX_S = 25.0  # init first starts the new code as a child and waits for its proof
LOOK_S = 0.05


def renew(home: Home, client: KeeperClient, timeout_s: float, services: bytes | None = None) -> bool:
    """True when a running Holdfast took the code; False when none ran. Raises RENEW_FAILED: the old one runs on.

    `services`: the services.json that names the code to take; this command's own otherwise.
    """
    former = home.services.read_bytes() if home.services.exists() else None
    starting.write_services_text(home, services if services is not None else starting.services_text(home, None))
    if not starting.is_owned(home):
        return False
    deadline_mono = time.monotonic() + timeout_s
    before = ask(home, {"op": "code"})
    if before.get("ok"):
        try:
            _re_execute(home, before, deadline_mono)
        except HoldfastError:
            if former is not None:  # init goes on with the old code, so shall its next keeper
                from holdfast.files import write_atomic

                with contextlib.suppress(OSError):
                    write_atomic(home.services, former)
            raise
        _restart_services(home, before, deadline_mono)
    else:
        _replace_guard(home)
    if not client.wait_until_up(max(1.0, deadline_mono - time.monotonic())):
        raise HoldfastError(errors.RENEW_FAILED, reason="no keeper of the new code answers", home=home.path)
    return True


def _re_execute(home: Home, before: dict[str, Any], deadline_mono: float) -> None:
    answer = ask(home, {"op": "reexec"})
    if answer and not answer.get("ok"):
        raise HoldfastError(errors.RENEW_FAILED, reason=answer.get("error", "no reason given"), home=home.path)
    while time.monotonic() < deadline_mono:
        now = ask(home, {"op": "code"})
        if now.get("ok") and now["code"]["since_mono"] != before["code"]["since_mono"]:
            return
        time.sleep(LOOK_S)
    raise HoldfastError(errors.RENEW_FAILED, reason="init did not come back in time", home=home.path)


def _restart_services(home: Home, before: dict[str, Any], deadline_mono: float) -> None:
    """End keeper and logger; init starts both again, by the services.json that it has read anew."""
    old = {name: row["pid"] for name, row in before["services"].items() if row.get("pid")}
    for pid in old.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    while time.monotonic() < deadline_mono:
        rows = ask(home, {"op": "code"}).get("services", {})
        if old.keys() <= rows.keys() and all(rows[name]["pid"] not in (None, 0, old[name]) for name in old):
            return
        time.sleep(LOOK_S)
    raise HoldfastError(errors.RENEW_FAILED, reason="keeper and logger did not come back in time", home=home.path)


def _replace_guard(home: Home) -> None:
    from holdfast.cli.service_record import start_unit
    from holdfast.init.launch import start_guard

    take_over(home)
    if not start_unit(home):
        start_guard(str(home.path), str(home.run))


def ask(home: Home, operation: dict[str, Any]) -> dict[str, Any]:
    """One operation of init's without saying hello, which would push the keeper aside; {} when nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(ANSWER_MAX_S)
            link.connect(str(home.init_socket))
            link.sendall(json.dumps({**operation, "id": 1}).encode() + b"\n")
            with link.makefile("rb") as lines:
                for line in lines:
                    answer = json.loads(line)
                    if isinstance(answer, dict) and answer.get("re") == 1:
                        return answer
    except (OSError, ValueError):
        pass
    return {}
