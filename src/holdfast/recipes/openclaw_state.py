"""What OpenClaw keeps on disk, as far as snapshots, restores and copies need to know (tested with 2026.9.6).

Its databases and its configuration must be whole: it refuses an unreadable configuration with exit 78 and its doctor
cannot repair one. While nothing is under way it can be brought to rest by its own RPC, for two minutes at most. A
restored gateway runs an interrupted turn again, and so does a copy, which therefore starts without channels and
schedules. Called by the recipe; nothing here changes anything.
"""

from __future__ import annotations

import os
from typing import Any

from holdfast.recipes.function import function_probe
from holdfast.recipes.model import Quiesce
from holdfast.spec.model import AgentSpec
from holdfast.spec.validator import CODE, Kind, Validator

# Made again by itself (`cache` alone was 54 of 57 MB); locks of one run. Its main database changes every 30 s all the
# same: the gateway renews its lease there, three pages each time.
LEFT_OUT = ("/cache/", "/tmp/", "/plugin-skills/", "/logs/", "*.lock")
LEASE_S = 120.0  # OpenClaw's own: then it goes on by itself
CHANNELS_OFF = {"OPENCLAW_SKIP_CHANNELS": "1", "OPENCLAW_SKIP_CRON": "1", "OPENCLAW_SKIP_GMAIL_WATCHER": "1"}
_DATABASES = ("/state/openclaw.sqlite", "/agents/*/agent/openclaw-agent.sqlite")


def validators(spec: AgentSpec) -> tuple[Validator, ...]:
    """Databases of its own, not those a tool may have left in the workspace: what it needs to start."""
    skip = (*spec.state.exclude, *CODE, "/workspace/", "/media/")
    config = _config_pattern(spec)
    return (
        *(Validator(kind=Kind.DATABASE, path=path, skip=skip) for path in _DATABASES),
        *((Validator(kind=kind, path=config, skip=skip) for kind in (Kind.PRESENT, Kind.JSON5)) if config else ()),
    )


def _config_pattern(spec: AgentSpec) -> str:
    """Its configuration, seen from the state path that holds it; "" when none does."""
    config = os.path.normpath(config_of(spec) or "/")
    for path in spec.state.paths:
        if config == os.path.normpath(path):
            return f"/{os.path.basename(config)}"
        if config.startswith(os.path.join(os.path.normpath(path), "")):
            return f"/{os.path.relpath(config, path)}"
    return ""


def config_of(spec: AgentSpec) -> str:
    return spec.env.get("OPENCLAW_CONFIG_PATH", spec.recipe_data.get("config", ""))


def quiesce(spec: AgentSpec) -> Quiesce | None:
    port, config = spec.recipe_data.get("port", ""), config_of(spec)
    if not port or not config:
        return None
    return Quiesce(
        begin=function_probe("openclaw_function", port, config, "rest"),
        end=function_probe("openclaw_function", port, config, "go-on"),
        lease_s=LEASE_S,
    )


def stale_after_restore(spec: AgentSpec) -> tuple[str, ...]:
    state_dir = spec.env.get("OPENCLAW_STATE_DIR", spec.recipe_data.get("state_dir", ""))
    found = [
        (
            "OAuth logins lie in its databases: one that was renewed since the snapshot may be refused now; see "
            "`openclaw models status`, and log in again with `openclaw models auth login --provider NAME`"
        )
    ]
    if os.path.isdir(os.path.join(state_dir, "credentials", "whatsapp")):
        found.append(
            "WhatsApp's keys change with every message: if it does not connect, link it again with `openclaw channels "
            "login --channel whatsapp`"
        )
    return tuple(found)


def clone_options(spec: AgentSpec, port: int) -> dict[str, Any]:
    data = spec.recipe_data
    state_dir, config = data.get("state_dir", ""), config_of(spec)
    block: dict[str, Any] = {"install": data["install"]} if data.get("install") else {}
    block |= {"node": spec.command[0], "port": port, "state_dir": state_dir}
    return block if config == os.path.join(state_dir, "openclaw.json") else {**block, "config": config}


def clone_notes(spec: AgentSpec) -> tuple[str, ...]:
    return (
        "its channels and schedules are off (OPENCLAW_SKIP_CHANNELS, OPENCLAW_SKIP_CRON)",
        "a turn that was under way in the snapshot is run again, and asks the model, though nobody hears the answer",
        "change agents.defaults.workspace in the copy's openclaw.json: where it is set, it is the original's workspace",
    )
