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
from collections.abc import Iterable, Mapping

from holdfast import limits
from holdfast.home import Home
from holdfast.node import tree_size
from holdfast.spec.model import AgentSpec


def own_directories(agents: Iterable[AgentSpec], home: Home) -> dict[str, list[str]]:
    """What belongs to each agent alone. Pure but for resolving links in the paths that users wrote.

    A working directory counts unless others live in it too: another agent, Holdfast's home, or somebody's whole home.
    """
    specs = list(agents)
    working = {spec.name: os.path.realpath(spec.working_dir) for spec in specs}
    shared = [os.path.realpath(home.path), os.path.expanduser("~"), "/home/*", "/tmp", "/var/tmp"]
    found: dict[str, list[str]] = {}
    for spec in specs:
        directories = [str(home.agent(spec.name))]
        state = spec.recipe_data.get("state_dir")
        for directory in [working[spec.name], *([os.path.realpath(state)] if state else [])]:
            others = [path for name, path in working.items() if name != spec.name]
            if not any(_holds(directory, other) for other in [*others, *shared]):
                directories.append(directory)
        found[spec.name] = directories
    return found


def _holds(directory: str, other: str) -> bool:
    """Whether `other` is `directory` or below it. "/home/*" stands for any user's home."""
    if other == "/home/*":
        return directory == "/home" or os.path.dirname(directory) == "/home" or directory == "/"
    return os.path.commonpath([directory, other]) == directory


async def measure(asked: Mapping[str, list[str]]) -> dict[str, int]:
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
