"""A real HTTP server that may sleep: it answers every request, and says READY=1 and, if asked to, X_IDLE=1.

Arguments: PORT, and `idle` to tell that it has nothing to do. GET /slow reads like any other; each answer counts up,
so that a test sees whether it is the same process that answers. Standard library only: it runs as the agent's user.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COUNT = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        global COUNT
        COUNT += 1
        body = f"{os.getpid()} {COUNT} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = f"{os.getpid()} {len(self.rfile.read(length))}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def beat() -> None:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = os.environ["NOTIFY_SOCKET"]
    while True:
        line.sendto(b"READY=1\nWATCHDOG=1\nX_IDLE=1", "\0" + path[1:] if path.startswith("@") else path)
        time.sleep(0.2)


if __name__ == "__main__":
    memory = bytearray(os.urandom(1 << 20)) * 24  # something to page out
    if "idle" in sys.argv:
        threading.Thread(target=beat, daemon=True).start()
    ThreadingHTTPServer.request_queue_size = 64
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
