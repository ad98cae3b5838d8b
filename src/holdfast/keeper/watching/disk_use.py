"""How much disk each agent's own directories hold: one gentle round now and then, by a process of its own.

Invariant: the control loop never touches those trees, which agents may change or set traps in, and which may be on a
disk that does not answer; a round that takes too long is ended. Called by resources.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterable
from typing import TypedDict

from holdfast import limits
from holdfast.home import Home
from holdfast.node import tree_size
from holdfast.spec.model import AgentSpec


class Asked(TypedDict):
    """The question to `node.tree_size`, where the keys are described."""

    shared: list[str]
    users: dict[str, list[str]]


def asked_of(agents: Iterable[AgentSpec], home: Home) -> Asked:
    """What is to be measured. Pure: whether a directory is an agent's alone is found out beside us, on the disk."""
    users: dict[str, list[str]] = {}
    for spec in agents:
        state = spec.recipe_data.get("state_dir")
        users[spec.name] = [str(home.agent(spec.name)), spec.working_dir, *([state] if state else [])]
    shared = [str(home.path), os.path.expanduser("~"), "/home/*", "/tmp", "/var/tmp"]
    return {"shared": shared, "users": users}


async def measure(asked: Asked) -> dict[str, int]:
    """Bytes by agent, as far as the round came. Never raises for what it meets."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(tree_size.__file__)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env={},
        )
    except OSError:
        return {}
    found: dict[str, int] = {}
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(limits.DISK_ROUND_MAX_S):
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.close()
            async for line in process.stdout:
                for name, (used_bytes, _) in json.loads(line).items():
                    found[name] = int(used_bytes)
            await process.wait()
    except (TimeoutError, OSError, ValueError, TypeError):
        pass  # what was measured until then is good
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    return found
