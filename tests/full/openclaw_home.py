"""Writes the smallest state directory with which a real OpenClaw gateway serves turns, and talks to that gateway.

Invariants: loopback only, a random free port, random tokens, every file below one directory. Used by
test_openclaw.py.
"""

from __future__ import annotations

import json
import os
import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.full.install import Installed
from tests.full.loopback import request_json
from tests.full.processes import hand_over
from tests.harness.ports import free_port


@dataclass(frozen=True, slots=True)
class OpenclawHome:
    """One gateway's place on disk and its address."""

    folder: Path
    port: int
    gateway_token: str
    hooks_token: str
    installed: Installed

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def config(self) -> Path:
        return self.state_dir / "openclaw.json"

    @classmethod
    def create(cls, folder: Path, llm_base_url: str, installed: Installed) -> OpenclawHome:
        """Make the state directory with a valid config; the gateway is not started."""
        home = cls(folder, free_port(), secrets.token_hex(16), secrets.token_hex(16), installed)
        home.state_dir.mkdir(parents=True, mode=0o700)
        (home.state_dir / "workspace").mkdir()
        home.write_config(llm_base_url)
        hand_over(folder)
        return home

    def write_config(self, llm_base_url: str) -> None:
        self.config.write_text(json.dumps(self._config(llm_base_url), indent=2) + "\n")
        os.chmod(self.config, 0o600)

    def _config(self, llm_base_url: str) -> dict[str, Any]:
        model = {
            "id": "fake-1", "name": "Fake 1", "reasoning": False, "input": ["text"], "contextWindow": 200_000,
            "maxTokens": 8192, "cost": {"input": 3, "output": 15, "cacheRead": 0.3, "cacheWrite": 3.75},
        }  # fmt: skip
        provider = {
            "baseUrl": llm_base_url, "apiKey": "fake", "api": "openai-completions",
            "request": {"allowPrivateNetwork": True}, "models": [model],
        }  # fmt: skip
        return {
            "gateway": {
                "mode": "local",  # mandatory: without it the gateway does not start
                "bind": "loopback",
                "port": self.port,
                "auth": {"mode": "token", "token": self.gateway_token},
            },
            "update": {"checkOnStart": False},
            "logging": {"file": str(self.state_dir / "logs" / "gateway.jsonl")},
            "models": {"mode": "merge", "providers": {"fake": provider}},
            "agents": {
                "defaults": {
                    "workspace": str(self.state_dir / "workspace"),
                    "model": {"primary": "fake/fake-1"},
                    "skipBootstrap": True,
                    "heartbeat": {"every": "0m"},
                }
            },
            "hooks": {"enabled": True, "token": self.hooks_token, "allowedAgentIds": ["main"]},
        }

    def command(self) -> list[str]:
        """The command line of the recipe, for a start by hand."""
        return [
            str(self.installed.node), str(self.installed.openclaw_main), "gateway", "run", "--port", str(self.port),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """The clean environment of the recipe, for a start by hand."""
        return {
            "PATH": f"{self.installed.node.parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "OPENCLAW_STATE_DIR": str(self.state_dir),
            "OPENCLAW_CONFIG_PATH": str(self.config),
            "OPENCLAW_GATEWAY_PORT": str(self.port),
            "OPENCLAW_SUPERVISOR_MODE": "external",
            "OPENCLAW_SERVICE_REPAIR_POLICY": "external",
            "OPENCLAW_NO_RESPAWN": "1",
            "OPENCLAW_NO_AUTO_UPDATE": "1",
            "OPENCLAW_DISABLE_BONJOUR": "1",
            "OPENCLAW_EXEC_SHELL_SNAPSHOT": "0",
            "OPENCLAW_OFFLINE": "1",
        }

    def get(self, path: str, timeout_s: float = 2.0) -> tuple[int, dict[str, Any]]:
        """GET of a probe path: status and JSON body. Raises OSError when nobody answers in time."""
        return request_json(f"http://127.0.0.1:{self.port}{path}", None, {}, timeout_s)

    def turn(self, message: str, timeout_s: float) -> dict[str, Any]:
        """One whole turn of the agent through its webhook; returns after the model has answered."""
        body = {"message": message, "agentId": "main", "waitForCompletion": True, "timeoutSeconds": int(timeout_s)}
        headers = {"Authorization": f"Bearer {self.hooks_token}", "Idempotency-Key": str(uuid.uuid4())}
        status, answer = request_json(f"http://127.0.0.1:{self.port}/hooks/agent", body, headers, timeout_s)
        if status != 200:
            raise OSError(f"the turn ended with HTTP {status}: {answer}")
        return answer
