"""A program that looks like an installed Hermes to everybody outside: its command line, files, port, stop marker."""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = """\
#!{python} -S
import json, os, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer

home = os.environ["HERMES_HOME"]
writers = os.path.join(home, "writers")
with open(writers, "a") as file:
    file.write("start %d\\n" % os.getpid())

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{"status": "ok", "platform": "hermes-agent", "key": os.environ.get("MY_KEY", "")}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass

HTTPServer.allow_reuse_address = True
server = HTTPServer(("127.0.0.1", {port}), Answer)

def leave(number, frame):
    planned = os.path.exists(os.path.join(home, ".gateway-planned-stop.json"))
    if planned:
        os.unlink(os.path.join(home, ".gateway-planned-stop.json"))
    with open(writers, "a") as file:
        file.write("stop %d %s\\n" % (os.getpid(), "planned" if planned else signal.Signals(number).name))
    os._exit(0)

signal.signal(signal.SIGTERM, leave)
signal.signal(signal.SIGINT, leave)
server.serve_forever()
"""


def install(directory: Path, port: int) -> tuple[Path, Path]:
    """The virtual environment and HERMES_HOME."""
    venv, home = directory / "venv", directory / "hermes"
    (venv / "bin").mkdir(parents=True)
    (venv / "lib/python3.11/site-packages/aiohttp").mkdir(parents=True)  # what its API server needs
    home.mkdir()
    (home / "config.yaml").write_text("model: {}\n")
    (home / ".env").write_text(f"API_SERVER_KEY=secret-of-hermes\nAPI_SERVER_PORT={port}\n")
    program = venv / "bin/hermes"
    program.write_text(PROGRAM.format(python=sys.executable, port=port))
    program.chmod(0o755)
    return venv, home
