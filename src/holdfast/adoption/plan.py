"""What taking over one installation means: the agent's declaration, the environment it keeps, the steps in words. Pure.

Invariant: the same user, state, port, configuration and environment as before; no secret leaves the environment for
holdfast.yaml, argv or a log. Called by apply.py and `holdfast adopt`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from holdfast import errors
from holdfast.adoption.model import Found
from holdfast.errors import HoldfastError
from holdfast.recipes import hermes, openclaw

STEPS = ("declare", "quiet", "stop", "clear", "up", "healthy")
# Of the session or supervisor that started it, not of the agent.
_NOT_CARRIED = re.compile(
    r"HOLDFAST_.*|SYSTEMD_.*|XDG_(SESSION|SEAT|VTNR|RUNTIME|CURRENT).*|DBUS_.*|SSH_(?!AUTH_SOCK).*|SUDO_.*|PM2_.*|pm_.*|axm_.*"
    r"|LS_COLORS|LESS.*|TMUX.*|STY|WINDOW|TERM.*|COLORTERM|COLUMNS|LINES|PWD|OLDPWD|SHLVL|_|MAIL|DISPLAY"
    r"|USER|LOGNAME|SHELL|HOME|TMPDIR|INVOCATION_ID|JOURNAL_STREAM|MANAGERPID|MAINPID|LISTEN_.*|NOTIFY_SOCKET"
    r"|WATCHDOG_.*|MEMORY_PRESSURE_.*|CREDENTIALS_DIRECTORY|NODE_APP_INSTANCE|NODE_CHANNEL_.*|unique_id|status"
    r"|exec_mode|instances|watch|autorestart|vizion.*|km_link|namespace|filter_env|treekill|windowsHide"
)
# What pm2 says to its children about themselves; told from the agent's own by pm_id being there too.
_OF_PM2 = re.compile(
    r"name|namespace|version|node_version|username|args|node_args|script|merge_logs|combine_logs|autostart|instance_var"
    r"|pmx|automation|kill_retry_time|kill_timeout|exec_interpreter|vizion_running|created_at|restart_time"
    r"|unstable_restarts|exit_code|prev_restart_delay|restart_delay|max_restarts|min_uptime|max_memory_restart"
    r"|stop_exit_codes|listen_timeout|wait_ready|cron_restart|out_file|error_file|log_date_format|time|watch_delay"
    r"|ignore_watch|source_map_support|disable_source_map_support|force|append_env_to_name|shutdown_with_message"
)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RECIPE_ENV: dict[str, frozenset[str]] = {
    "openclaw": frozenset(
        {*openclaw.SCRUB, "OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH", "OPENCLAW_GATEWAY_PORT"}
        | {
            *("OPENCLAW_SUPERVISOR_MODE", "OPENCLAW_SERVICE_REPAIR_POLICY", "OPENCLAW_NO_RESPAWN"),
            *("OPENCLAW_NO_AUTO_UPDATE", "OPENCLAW_SERVICE_MARKER", "OPENCLAW_SERVICE_KIND"),
        }
    ),
    "hermes": frozenset(
        {*hermes.SCRUB, "HERMES_HOME", "HERMES_GATEWAY_EXTERNAL_SUPERVISOR"}
        | {"API_SERVER_ENABLED", "API_SERVER_HOST", "API_SERVER_PORT"}
    ),
}
_SECRET_FLAGS = {"--token": "OPENCLAW_GATEWAY_TOKEN", "--password": "OPENCLAW_GATEWAY_PASSWORD"}


def carried(found: Found) -> dict[str, str]:
    """The part of the former environment that belongs to the agent, with secrets of its command line added."""
    env = {
        name: value
        for name, value in found.env.items()
        if is_plain(name, value)
        and not _NOT_CARRIED.fullmatch(name)
        and not ("pm_id" in found.env and _OF_PM2.fullmatch(name))
        and name not in _RECIPE_ENV[found.kind]
    }
    _, secrets = _arguments(found)
    if found.env.get("HOME") and found.home_dir:
        env["HOME"] = found.env["HOME"]
    return {**env, **secrets}


def is_plain(name: str, value: str) -> bool:
    """Whether an env file can hold it; what Holdfast sets itself is left out."""
    ours = name.startswith("HOLDFAST_") or name == "NOTIFY_SOCKET"
    return bool(_ENV_NAME.fullmatch(name)) and "\0" not in value and not ours


def declaration(found: Found, as_root: bool, env_file: str) -> dict[str, Any]:
    """The agent's entry in holdfast.yaml. Raises ADOPTION_REFUSED when something needed is unknown."""
    if found.missing:
        raise HoldfastError(
            errors.ADOPTION_REFUSED, what=words_of(found), reason="unknown: " + "; ".join(found.missing)
        )
    body: dict[str, Any] = {"recipe": found.kind}
    if as_root:
        body["user"] = found.user if not found.user.isdecimal() else str(found.uid)
    extra, _ = _arguments(found)
    if found.kind == "openclaw":
        settings: dict[str, Any] = {"port": found.port, "state_dir": found.state_dir}
        if found.install:
            settings = {"install": found.install, **settings}
        if found.node:
            settings["node"] = found.node
        if found.config != os.path.join(found.state_dir, "openclaw.json"):
            settings["config"] = found.config
        body["openclaw"] = settings
        if extra or not found.install:
            script = found.script or os.path.join(found.install, "node_modules", "openclaw", "openclaw.mjs")
            command = [found.node or "node", script, "gateway", "run", "--port", str(found.port), *extra]
            body["command"] = command
    else:
        body["hermes"] = {"home": found.state_dir, "venv": found.install, "port": found.port}
        if extra:
            program = os.path.join(found.install, "bin", "hermes")
            body["command"] = [program, "gateway", "run", "--external-supervisor", *extra]
    if env_file:
        body["env_file"] = env_file
    return body


def needs_key(found: Found) -> bool:
    """Whether Hermes' API server, which answers /health, has no key yet and would not start."""
    return found.kind == "hermes" and not found.has_key


def former_command(found: Found) -> tuple[str, ...]:
    """How the program was started by hand: a gateway that renamed itself is started as the recipe would."""
    if (found.argv and found.argv[0].startswith("/")) or len(found.argv) > 2:
        return found.argv
    if found.kind == "openclaw":
        script = found.script or os.path.join(found.install, "node_modules", "openclaw", "openclaw.mjs")
        return (found.node or "node", script, "gateway", "run", "--port", str(found.port))
    return (os.path.join(found.install, "bin", "hermes"), "gateway", "run")


def env_text(env: Mapping[str, str], comment: str) -> str:
    """An env file that gives back exactly these values."""
    lines = [f"# {comment}"]
    for name, value in sorted(env.items()):
        quoted = re.sub(r'([\\"$`])', r"\\\1", value).replace("\n", "\\n").replace("\r", "\\r")
        lines.append(f'{name}="{quoted}"')
    return "\n".join(lines) + "\n"


def words_of(found: Found) -> str:
    name = {"openclaw": "OpenClaw", "hermes": "Hermes"}[found.kind]
    return f"{name} in {found.state_dir}"


def told(found: Found) -> list[str]:
    """What was found, in plain words."""
    owner = f"user {found.user}" if found.user.isdigit() else found.user  # one without a name
    run = f"runs as process {found.pid} of {owner}" if found.running else "does not run"
    lines = [f"{words_of(found)}: {run}, port {found.port}{'' if found.port_known else ' (its default)'}"]
    lines.append(f"  kept alive by {found.former.words}")
    if found.version:
        lines.append(f"  {found.version}")
    if found.kind == "openclaw" and found.former.kind == "process" and len(found.argv) == 1:
        lines.append("  it has renamed itself: options it was given by hand cannot be seen and are not kept")
    lines += [f"  unknown: {each}" for each in found.missing]
    return lines


def steps(found: Found, file: str, name: str, quiet_s: float) -> list[str]:
    """What `adopt` would do, in order, in plain words."""
    words = [f"write agent {name} into {file} (the former file is kept)"]
    if needs_key(found):
        words.append("make an API key for Hermes: its health can be asked only with its API server on")
    if found.running:
        words.append(f"wait up to {quiet_s:g} s for a moment without work")
    if found.former.kind == "systemd":
        words.append(f"disable and stop {found.former.name} ({found.former.scope}); the unit file stays")
    elif found.former.kind == "pm2":
        words.append(f"pm2 stop {found.former.name}, and save that where its list is saved; its entry stays")
    elif found.running:
        words.append(f"end process {found.pid} gracefully")
    words.append(f"see that nothing of it runs and port {found.port} is free")
    words.append("start it under Holdfast: same user, same state, same port; wait until it is healthy")
    words.append("if any of this fails: back to the former way, by itself")
    return words


def _arguments(found: Found) -> tuple[list[str], dict[str, str]]:
    """The former command line's further arguments, and secrets among them as variables."""
    extra: list[str] = []
    secrets: dict[str, str] = {}
    rest = list(found.extra)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if flag in _SECRET_FLAGS and found.kind == "openclaw":
            secrets[_SECRET_FLAGS[flag]] = value if equals else (rest.pop(0) if rest else "")
        else:
            extra.append(word)
    return extra, secrets


def as_json(found: Found, body: dict[str, Any] | None, planned: list[str]) -> dict[str, Any]:
    """For --json: no environment, no arguments, so no secrets."""
    return {
        "kind": found.kind, "user": found.user, "state_dir": found.state_dir, "config": found.config,
        "port": found.port, "version": found.version, "install": found.install, "pid": found.pid or None,
        "kept_alive_by": {"kind": found.former.kind, "name": found.former.name, "scope": found.former.scope},
        "missing": list(found.missing), "declaration": body and json.loads(json.dumps(body)), "steps": planned,
    }  # fmt: skip
