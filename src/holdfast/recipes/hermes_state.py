"""What Hermes keeps on disk, as far as snapshots, restores and copies need to know (tested with 0.19.0).

Hermes refuses nothing: with a broken configuration it asks another provider and fails each turn, with a broken database
it goes on without its sessions. So both are looked at before it is started. Its own .env wins over the environment, and
its scheduler cannot be switched off, so that a copy can only be silenced in its files. Called by the recipe; nothing
here changes anything.
"""

from __future__ import annotations

import os
from typing import Any

from holdfast.spec.model import AgentSpec
from holdfast.spec.validator import CODE, Kind, Validator

# Logs and caches; what only the running gateway means, some of it written every 30 s; and a list of channels that it
# makes anew every five minutes and at each start. Idle, it changes nothing else.
LEFT_OUT = (
    *("/logs/", "/cache/", "/audio_cache/", "/image_cache/", "*.lock", "/gateway.pid", "/gateway-starts.log"),
    *("/.gateway-*.json", "/state/gateway.heartbeat", "/cron/ticker_*", "/channel_directory.json"),
)
_DATABASES = ("/state.db", "/response_store.db", "/kanban.db", "/cron/executions.db")
_LOGINS = ("auth.json", ".anthropic_oauth.json", "slack_tokens.json")
_PAIRED = ("pairing", "platforms")  # one directory for each platform that keeps a session of its own


def home_of(spec: AgentSpec) -> str:
    return spec.env.get("HERMES_HOME") or spec.recipe_data.get("home", "")


def validators(spec: AgentSpec) -> tuple[Validator, ...]:
    skip = (*spec.state.exclude, *CODE, "/skills/", "/sessions/")
    return (
        *(Validator(kind=Kind.DATABASE, path=path, skip=skip) for path in _DATABASES),
        Validator(kind=Kind.YAML, path="/config.yaml", skip=skip),
        Validator(kind=Kind.JSON, path="/cron/jobs.json", skip=skip),
    )


def stale_after_restore(spec: AgentSpec) -> tuple[str, ...]:
    home, found = home_of(spec), []
    logins = [name for name in _LOGINS if os.path.isfile(os.path.join(home, name))]
    if logins:
        found.append(
            f"logins of model providers ({', '.join(logins)}): one that was renewed since the snapshot may be refused "
            "now; see `hermes auth list`, and log in again with `hermes auth add PROVIDER`"
        )
    sessions = [name for name in _PAIRED if _has_entries(os.path.join(home, name))]
    if sessions:
        found.append(
            f"sessions of platforms ({', '.join(sessions)}): one that went on since the snapshot may have to be linked "
            "or paired again (`hermes whatsapp`, `hermes pairing list`)"
        )
    return tuple(found)


def _has_entries(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(True for _ in entries)
    except OSError:
        return False


def clone_options(spec: AgentSpec, port: int) -> dict[str, Any]:
    venv = spec.recipe_data.get("venv", "")
    return {"home": home_of(spec), **({"venv": venv} if venv else {}), "port": port}


def clone_notes(spec: AgentSpec) -> tuple[str, ...]:
    return (
        (
            "its platforms are not off: Hermes takes their tokens from the copy's .env and config.yaml whatever its "
            "environment says; take them out there, and change API_SERVER_PORT, before you start it"
        ),
        "its scheduler is not off either: move cron/jobs.json of the copy away, or its jobs run twice",
    )
