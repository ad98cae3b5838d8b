"""The JavaScript stack of a Node agent that runs with an inspector port of its own, asked through that port.

Invariants: no signal is sent and no port is opened (SIGUSR1 would give every local user the agent's rights); the port
is asked only when a process of the agent's own tree listens on it, and whatever that answers, nobody else is. Called by
collect.py where the recipe names a port.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.parse
from typing import Any

from holdfast import limits
from holdfast.evidence.model import Frame
from holdfast.evidence.stacks import Sample
from holdfast.node import processes


def javascript(main_pid: int, port: int, tree: list[int], timeout_s: float) -> Sample:
    """Pause, read the stack, go on."""
    if not processes.listeners_of(port, within=tree):
        return Sample("inspector", {}, gap=f"no process of the agent listens on its inspector port {port}")
    until = time.monotonic() + timeout_s
    try:
        return Sample("inspector", {main_pid: _ask(port, until)}, frozenset({main_pid}))
    except Exception as error:  # whatever a foreign server answers: it must not cost the rest of the bundle
        return Sample("inspector", {}, gap=f"the inspector on port {port} did not answer: {error!r}"[:300])


def _ask(port: int, until: float) -> tuple[Frame, ...]:
    import http.client

    from websockets.sync.client import connect  # takes a while to import

    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=_left(until))  # knows no proxy, follows nobody
    with contextlib.closing(asked):
        asked.request("GET", "/json/list")
        listed = json.loads(asked.getresponse().read(65_536))
    place = urllib.parse.urlsplit(str(listed[0]["webSocketDebuggerUrl"])).path  # the rest of it is an agent's word
    with connect(
        f"ws://127.0.0.1:{port}{place}",
        proxy=None,
        open_timeout=_left(until),
        close_timeout=0.05,
        max_size=4 * 1024 * 1024,
    ) as line:
        for number, method in enumerate(("Debugger.enable", "Debugger.pause"), start=1):
            line.send(json.dumps({"id": number, "method": method}))
        try:
            while True:
                message: dict[str, Any] = json.loads(line.recv(timeout=_left(until)))
                if message.get("method") == "Debugger.paused":
                    return parse(message)
        finally:
            with contextlib.suppress(Exception):  # its end sets the agent free as well
                line.send(json.dumps({"id": 3, "method": "Debugger.resume"}))


def parse(message: dict[str, Any]) -> tuple[Frame, ...]:
    """Frames of `Debugger.paused`; the inspector counts lines from 0."""
    return tuple(
        Frame(
            function=str(frame.get("functionName") or "(anonymous)")[: limits.BUNDLE_TEXT_MAX_CHARS],
            file=str(frame.get("url") or "")[: limits.BUNDLE_TEXT_MAX_CHARS],
            line=int(frame.get("location", {}).get("lineNumber", -1)) + 1,
        )
        for frame in message["params"]["callFrames"][: limits.BUNDLE_FRAMES_MAX]
    )


def _left(until: float) -> float:
    return max(0.05, until - time.monotonic())
