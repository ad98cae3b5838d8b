"""An agent that answers HTTP: /health says how it is, / counts visits. Listens on 127.0.0.1:$PORT."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STARTED_MONO = time.monotonic()
PORT = int(os.environ.get("PORT", "18080"))
visits = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        global visits
        if self.path == "/health":
            body = {"ok": True, "uptime_s": round(time.monotonic() - STARTED_MONO, 3)}
        else:
            visits += 1
            body = {"visits": visits, "pid": os.getpid()}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        if self.path != "/health":
            print(f"{self.address_string()} {format % args}", flush=True)


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"web: listening on 127.0.0.1:{PORT} as pid {os.getpid()}", flush=True)
    server.serve_forever()


main()
