"""The recipe of a Hermes gateway (tested with 0.19.0).

    assistant:
      recipe: hermes

An installed Hermes is found by itself (the `hermes` on PATH, ~/.hermes); `hermes: {home: /srv/hermes, venv:
/opt/hermes, port: 8642}` says otherwise. What it knows: the gateway must run with --external-supervisor (else a restart
asked for in a chat escapes supervision); a TERM without the planned-stop marker counts as a crash in its own books;
exit 75 asks for a restart; 78 is a fatal configuration. Its /health runs on the gateway's event loop, so a frozen loop
is seen.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from holdfast.recipes import exits, hermes_state, installed
from holdfast.recipes.function import function_probe
from holdfast.recipes.model import FileWrite, FunctionProbe
from holdfast.recipes.process import ProcessRecipe
from holdfast.spec.model import AgentSpec, FileBeat, HttpProbe
from holdfast.spec.recipe import Ask, Default, Finding, Given, Option, Path
from holdfast.spec.validator import Validator

VERSION = "0.19.0"
PORT = 8642  # Hermes' own default
HOME = ".hermes"  # in its user's home
START_MEMORY_BYTES = 250_000_000
START_PERIOD_S = 120.0  # 2 to 7 s idle, 45 s seen on a loaded machine
STOP_GRACE_S = 30.0  # a stop takes 1 to 2 s; with a turn under way it may hang until killed
HEARTBEAT = os.path.join("state", "gateway.heartbeat")  # written by its event loop every 30 s
HEARTBEAT_MAX_AGE_S = 180.0  # six of them missed
MARKER = ".gateway-planned-stop.json"
EXIT_RESTART = 75
EXIT_FATAL_CONFIG = 78
# Hermes changes its behaviour when it believes that systemd runs it.
SCRUB = ("INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID")


class HermesRecipe(ProcessRecipe):
    name = "hermes"
    options: tuple[Option, ...] = (
        Option("home", "path", "HERMES_HOME: config.yaml, .env and all state", "~/.hermes"),
        Option("venv", "path", "the virtual environment Hermes is installed in", "that of the `hermes` on PATH"),
        Option("port", "port", "port of its API server, which answers /health", f"that in its .env, else {PORT}"),
    )
    replicable = False
    starts_on_damage = True

    def defaults(self, ask: Ask) -> Given:
        home, venv, missing = _places(ask)
        own_port = installed.port(_own_env(os.path.join(home, ".env")).get("API_SERVER_PORT")) if home else None
        port = ask.options.get("port") or own_port or PORT
        values: dict[Path, Default] = {
            ("health", "http"): Default(
                HttpProbe(url=f"http://127.0.0.1:{port}/health", expect={"status": "ok", "platform": "hermes-agent"}),
                "runs on the gateway's own event loop",
            ),
            ("health", "start_period"): Default(START_PERIOD_S, "45 s seen on a loaded machine"),
            ("memory", "start_default"): Default(START_MEMORY_BYTES, "a Python process with its libraries"),
            # TERM counts as planned only if it arrives before Hermes' own watcher (every 0.5 s) has taken the marker.
            ("stop", "signal"): Default("INT", "always a planned stop; TERM only right after the marker"),
            ("stop", "grace"): Default(STOP_GRACE_S, "1 to 2 s normally; hangs when a model call is under way"),
            ("exit_codes", "75"): Default("asked for a restart", "Hermes' own code"),
            ("exit_codes", "78"): Default("fatal configuration: it will not start until corrected", "Hermes' own code"),
            ("env", "HERMES_GATEWAY_EXTERNAL_SUPERVISOR"): Default("1", "restarts asked for in chats come to us"),
            ("env", "API_SERVER_ENABLED"): Default("true", "the server that answers /health"),
            ("env", "API_SERVER_HOST"): Default("127.0.0.1", "loopback only"),
            ("env", "API_SERVER_PORT"): Default(str(port), "where /health is asked"),
        }
        if home:
            values[("env", "HERMES_HOME")] = Default(home, "its state")
            beat = FileBeat(path=os.path.join(home, HEARTBEAT), max_age_s=HEARTBEAT_MAX_AGE_S)
            values[("health", "file")] = Default(beat, "its event loop writes it every 30 s")
            logs = os.path.join(glob.escape(home), "logs", "*.log")
            values[("logs", "files")] = Default((logs,), "some of them Hermes never cuts")
            values[("working_dir",)] = Default(home, "relative paths of its tools stay inside its home")
            values[("state", "paths")] = Default((home,), "databases, configuration, sessions, memories")
            values[("state", "exclude")] = Default(
                hermes_state.LEFT_OUT, "made again by itself; locks and marks of one run"
            )
        findings = list(missing)
        if venv:
            program = os.path.join(venv, "bin", "hermes")
            command = (program, "gateway", "run", "--external-supervisor")
            values[("command",)] = Default(command, "stays in the foreground")
            if not ask.has_command and not os.path.isfile(program):
                findings.append(
                    Finding(
                        ("hermes", "venv"),
                        f"no {program}",
                        f"an installed Hermes: python3 -m venv {venv} && {venv}/bin/pip install {_PACKAGES}",
                    )
                )
        return Given(
            values=values,
            findings=tuple(findings),
            ask_codes=(EXIT_FATAL_CONFIG,),
            scrub_env=SCRUB,
            recipe_data={"home": home or "", "venv": venv or "", "port": str(port)},
        )

    def before_stop(
        self, spec: AgentSpec, pid: int, starttime: int, *, stopper_pid: int, now_at: float
    ) -> tuple[FileWrite, ...]:
        """The marker with which `hermes gateway stop` announces a stop; Hermes believes it for 60 s."""
        home = spec.env.get("HERMES_HOME") or spec.recipe_data.get("home")
        if not home:
            return ()
        record = {
            "target_pid": pid,
            "target_start_time": starttime,
            "stopper_pid": stopper_pid,
            "written_at": datetime.fromtimestamp(now_at, UTC).isoformat(),
        }
        data = json.dumps(record, separators=(",", ":")).encode()
        return (FileWrite(path=os.path.join(home, MARKER), data=data),)

    def explain_exit(self, spec: AgentSpec, code: int | None, signal: int | None, last_log_lines: Sequence[str]) -> str:
        if code == 1:
            second = exits.last_with(last_log_lines, "already running")
            if second:
                return exits.clause("exit 1: another gateway uses the same HERMES_HOME", second)
            module = exits.last_with(last_log_lines, "modulenotfounderror", "no module named")
            if module:
                return exits.clause("exit 1: its installation is incomplete", module)
            if not exits.said(last_log_lines):
                return "exit 1: ended by a signal nobody announced to it, or a general error"
        if code == EXIT_FATAL_CONFIG:
            taken = exits.last_with(last_log_lines, "already in use")
            if taken:
                return exits.clause("exit 78: its port is held by another process", taken)
            reason = exits.last_with(last_log_lines, "config error", "non-retryable startup conflict")
            if reason:
                return exits.clause("exit 78: fatal configuration", reason)
        return super().explain_exit(spec, code, signal, last_log_lines)

    def function_probe(self, spec: AgentSpec) -> FunctionProbe | None:
        home, port = hermes_state.home_of(spec), spec.recipe_data.get("port", "")
        return function_probe("hermes_function", port, home) if port and home else None

    def state_validators(self, spec: AgentSpec) -> tuple[Validator, ...]:
        return hermes_state.validators(spec)

    def stale_after_restore(self, spec: AgentSpec) -> tuple[str, ...]:
        return hermes_state.stale_after_restore(spec)

    def clone_options(self, spec: AgentSpec, port: int) -> dict[str, Any] | None:
        return hermes_state.clone_options(spec, port)

    def clone_notes(self, spec: AgentSpec) -> tuple[str, ...]:
        return hermes_state.clone_notes(spec)

    def check(self, spec: AgentSpec) -> tuple[Finding, ...]:
        findings: list[Finding] = []
        home = spec.recipe_data.get("home", "")
        venv = spec.recipe_data.get("venv", "")
        port = spec.recipe_data.get("port", "")
        if not os.path.isfile(os.path.join(home, "config.yaml")):
            expected = "a configured home: HERMES_HOME=DIR hermes setup"
            findings.append(Finding(("hermes", "home"), f"no {home}/config.yaml", expected, severity="warning"))
        own = _own_env(os.path.join(home, ".env"))
        if own.get("API_SERVER_PORT", port) != port:
            found = f"API_SERVER_PORT={own['API_SERVER_PORT']} in {home}/.env, which wins over port {port}"
            findings.append(Finding(("hermes", "port"), found, "the same port in both"))
        if "API_SERVER_KEY" not in own and "API_SERVER_KEY" not in spec.env:
            found = f"no API_SERVER_KEY in {home}/.env or env_file"
            findings.append(Finding(("hermes", "home"), found, "a key: its API server refuses to start without one"))
        if venv and not glob.glob(os.path.join(glob.escape(venv), "lib", "python3*", "site-packages", "aiohttp")):
            found = f"no aiohttp in {venv}"
            findings.append(
                Finding(("hermes", "venv"), found, f"its API server needs it: {venv}/bin/pip install aiohttp")
            )
        return tuple(findings)


_PACKAGES = f"hermes-agent=={VERSION} aiohttp"


def _places(ask: Ask) -> tuple[str, str, list[Finding]]:
    """Its home and its virtual environment, given or found; "" and how to get one where there is none."""
    home, venv = ask.options.get("home", ""), ask.options.get("venv", "")
    findings: list[Finding] = []
    if not home and "home" not in ask.refused:
        home = installed.folder_of_user(HOME)
        if not home:
            how = "a configured Hermes: hermes setup; or home: DIR, which holds config.yaml and .env"
            findings.append(Finding(("hermes", "home"), f"no ~/{HOME}", how))
    if not venv and "venv" not in ask.refused and not ask.has_command:
        started = installed.program("hermes")
        venv = installed.hermes_environment(started) if started else ""
        if not venv:
            found = (
                f"{started}, which does not lead to a virtual environment" if started else "no program hermes on PATH"
            )
            how = f"an installed Hermes: python3 -m venv DIR && DIR/bin/pip install {_PACKAGES}, then venv: DIR"
            findings.append(Finding(("hermes", "venv"), found, how))
    return home, venv, findings


def _own_env(path: str) -> dict[str, str]:
    """The names and values of Hermes' .env, as far as they can be read; used to compare, never shown but the port."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(1_048_576).splitlines()
    except (OSError, ValueError):
        return {}
    pairs = (line.strip().removeprefix("export ").partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, separator, value in pairs if separator}
