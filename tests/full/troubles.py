"""Bad days for the agents: a thief on their port, and a machine that is busy with something else.

Invariants: each is a context manager, ends with it, and ends by itself after a bounded time even when the test is
killed. Used by the tests of this folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LIFE_S = 600  # of a thief or burner whose test was killed

_THIEF = """
import http.server, json, signal, sys
signal.alarm({life})
answers = json.loads(sys.argv[2])
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(answers.get(self.path, answers["*"])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
print("ready", flush=True)
server.serve_forever()
"""


@contextmanager
def port_thief(port: int, answers: dict[str, Any]) -> Iterator[int]:
    """Another process that holds `port` and answers health questions like the agent would; yields its pid."""
    source = _THIEF.replace("{life}", str(LIFE_S))
    thief = subprocess.Popen(
        [sys.executable, "-I", "-c", source, str(port), json.dumps(answers)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert thief.stdout is not None
        assert thief.stdout.readline() == "ready\n", "the thief could not take the port"
        yield thief.pid
    finally:
        thief.kill()
        thief.wait()


@contextmanager
def busy_machine(burners: int) -> Iterator[None]:
    """So many processes that each want a whole core."""
    source = f"import signal; signal.alarm({LIFE_S})\nwhile True: pass"
    running = [subprocess.Popen([sys.executable, "-I", "-c", source]) for _ in range(burners)]
    try:
        yield
    finally:
        for burner in running:
            burner.kill()
        for burner in running:
            burner.wait()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does not run; it is let go at the end if it is still there."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
