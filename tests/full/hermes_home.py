"""Writes the smallest HERMES_HOME with which a real Hermes gateway serves turns, and talks to that gateway.

Invariants: loopback only, a random free port, random keys, every file below one directory. Used by test_hermes.py.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.full.install import Installed
from tests.full.loopback import request_json
from tests.full.processes import hand_over
from tests.harness.ports import free_port


@dataclass(frozen=True, slots=True)
class HermesHome:
    """One gateway's place on disk and its address."""

    folder: Path
    port: int
    api_key: str
    installed: Installed

    @property
    def home(self) -> Path:
        return self.folder / "hermes"

    @classmethod
    def create(cls, folder: Path, llm_base_url: str, installed: Installed) -> HermesHome:
        """Make HERMES_HOME with a valid config; the gateway is not started."""
        made = cls(folder, free_port(), secrets.token_hex(24), installed)
        made.home.mkdir(parents=True, mode=0o700)
        config = {"model": {"provider": "custom", "default": "fake-1", "base_url": llm_base_url}}
        (made.home / "config.yaml").write_text(json.dumps(config, indent=2) + "\n")  # JSON is YAML
        keys = {
            "OPENAI_API_KEY": "fake",
            "API_SERVER_ENABLED": "true",
            "API_SERVER_KEY": made.api_key,  # the HTTP API does not start without one
            "API_SERVER_HOST": "127.0.0.1",
            "API_SERVER_PORT": str(made.port),
        }
        secret = made.home / ".env"
        secret.write_text("".join(f"{name}={value}\n" for name, value in keys.items()))
        os.chmod(secret, 0o600)
        hand_over(folder)
        return made

    def command(self) -> list[str]:
        """The command line of the recipe, for a start by hand."""
        return [str(self.installed.hermes_main), "gateway", "run", "--external-supervisor"]

    def environment(self) -> dict[str, str]:
        """The clean environment of the recipe, for a start by hand."""
        return {
            "PATH": f"{self.installed.hermes / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "HERMES_HOME": str(self.home),
        }

    def state(self) -> dict[str, Any]:
        """What Hermes last wrote of itself into gateway_state.json."""
        found: dict[str, Any] = json.loads((self.home / "gateway_state.json").read_text())
        return found

    def get(self, path: str, timeout_s: float = 2.0) -> tuple[int, dict[str, Any]]:
        """GET with the key: status and JSON body. Raises OSError when nobody answers in time."""
        return request_json(self._url(path), None, {"Authorization": f"Bearer {self.api_key}"}, timeout_s)

    def turn(self, message: str, timeout_s: float) -> str:
        """One whole turn through the HTTP API: what the agent said. HTTP 200 alone is no success with Hermes."""
        body = {"model": "hermes-agent", "messages": [{"role": "user", "content": message}]}
        headers = {"Authorization": f"Bearer {self.api_key}"}
        status, answer = request_json(self._url("/v1/chat/completions"), body, headers, timeout_s)
        if status != 200 or answer["choices"][0]["finish_reason"] == "error":
            raise OSError(f"the turn ended with HTTP {status}: {answer}")
        return str(answer["choices"][0]["message"]["content"])

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"
