"""The throw-away agent: healthy until the file `fault` beside it names something else.

Its loop (main thread) works and beats; its endpoint answers from a thread, as many servers do, so that a stuck loop
hides behind a good answer. Standard library only, and no module of ours: it runs by any Python, as any user.
Started by init, with its port as argument.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEAT_S = 1.0
STEP_S = 0.05
LEAK_STEP_BYTES = 1 << 20
began = time.monotonic()
beats = threading.Event()


def fault() -> str:
    try:
        with open("fault") as file:
            return file.read().strip()
    except OSError:
        return ""


class Health(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind, body = "application/json", json.dumps({"status": "ok", "age_s": time.monotonic() - began}).encode()
        now = fault()
        if now == "slow-endpoint":
            time.sleep(3)
        elif now == "http-200-but-dead":
            kind, body = "text/html", b"<html><body>It works!</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def notify(*lines: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto("\n".join(lines).encode(), path)
    except OSError:
        pass  # nobody listens at this moment, which is no reason to die


def beat_from_a_thread(cycle: int) -> None:
    while True:
        notify("WATCHDOG=1", f"X_CYCLE={cycle}")
        time.sleep(BEAT_S)


def stuck_here() -> None:
    while True:
        time.sleep(3600)


def leave_helpers() -> None:
    for _ in range(20):
        subprocess.Popen(["sleep", "600"], start_new_session=True)


def flood() -> None:
    line = b"flood " * 30 + b"\n"
    end = time.monotonic() + 5
    while time.monotonic() < end:
        os.write(1, line * 100)


def act(what: str, cycle: int, held: list[bytearray]) -> None:
    if what == "spin":
        while True:
            pass
    if what == "stop-beats":
        stuck_here()
    if what == "fake-beats":
        threading.Thread(target=beat_from_a_thread, args=(cycle,), daemon=True).start()
        stuck_here()
    if what == "fork-leak":
        leave_helpers()
        os._exit(1)
    if what == "log-flood":
        flood()
        os.replace("fault", "fault.done")
    if what.startswith("leak-slow"):
        most = int(what.partition(" ")[2])
        if len(held) * LEAK_STEP_BYTES < most:
            held.append(bytearray(os.urandom(LEAK_STEP_BYTES)))
    elif held:
        held.clear()


def main() -> None:
    if fault() == "exit-loop":
        print("cannot start: the cause is still there", flush=True)
        sys.exit(1)
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cycle, beaten, held = 0, 0.0, list[bytearray]()
    while True:
        cycle += 1
        now = time.monotonic()
        if now - beaten >= BEAT_S:
            beaten = now
            notify("READY=1", "WATCHDOG=1", f"X_CYCLE={cycle}")
            print(f"cycle {cycle} at {time.time():.3f}", flush=True)
        act(fault(), cycle, held)
        time.sleep(STEP_S)


if __name__ == "__main__":
    main()
