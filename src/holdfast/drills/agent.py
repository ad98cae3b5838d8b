"""The throw-away agent: healthy until the file `fault` beside it names something else.

Its loop (main thread) works and beats; its endpoint answers from a thread, as many servers do, so that a stuck loop
hides behind a good answer. With a directory as second argument it keeps a count there, twice in one transaction of a
database and once in a JSON file, and does not start on what it cannot use. Standard library only, and no module of
ours: it runs by any Python, as any user. Started by init.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEAT_S = 1.0
STEP_S = 0.05
COUNT_S = 0.25
BEGUN = "begun"  # beside its state: what it found there when it began
LEAK_STEP_BYTES = 1 << 20
GAP = "gap"  # beside it, while it is told to watch: its longest standstill, in seconds
SPIKE_STEP_BYTES = 8 << 20
START_HELD_S = 1.5
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


class Kept:
    """Its state. Raises what its libraries raise where that is gone or damaged: a start on less would lose the rest."""

    def __init__(self, directory: str) -> None:
        first = not os.path.exists(BEGUN)
        if first:
            os.makedirs(directory, exist_ok=True)
        self.text = os.path.join(directory, "work.json")
        self.base = sqlite3.connect(os.path.join(directory, "work.db"), isolation_level=None)
        self.base.execute("PRAGMA journal_mode = WAL")
        self.base.execute("PRAGMA synchronous = NORMAL")
        if first:
            self.base.execute("CREATE TABLE work (name TEXT PRIMARY KEY, n INTEGER, at REAL)")
            self.base.execute("INSERT INTO work VALUES ('one', 0, 0), ('other', 0, 0)")
            self.save(0, 0.0)
        whole = self.base.execute("PRAGMA quick_check").fetchone()[0] == "ok"
        (self.n, self.at), other = self.base.execute("SELECT n, at FROM work ORDER BY name").fetchall()
        with open(self.text) as file:
            told = json.load(file)
        found = {"n": self.n, "at": self.at, "json": told["n"], "whole": whole and (self.n, self.at) == other}
        place(BEGUN, {**found, "instance": os.environ.get("HOLDFAST_INSTANCE", ""), "restored": restored()})

    def count(self) -> None:
        if time.time() - self.at < COUNT_S:
            return
        self.n, self.at = self.n + 1, time.time()
        self.base.execute("UPDATE work SET n = ?, at = ?", (self.n, self.at))
        self.save(self.n, self.at)

    def save(self, n: int, at: float) -> None:
        place(self.text, {"n": n, "at": at})


def restored() -> str:
    return os.environ.get("HOLDFAST_RESTORED_FROM", "")


def place(path: str, told: dict[str, object]) -> None:
    with open(f"{path}.new", "w") as file:
        json.dump(told, file)
    os.replace(f"{path}.new", path)


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


def taken(size: int) -> bytearray:
    """Memory that is really there: every page is written."""
    return bytearray(b"\1") * size


def grow(what: str, held: list[bytearray]) -> None:
    """`spike MOST`: as fast as it can; `leak MOST RATE`: so many bytes in a second."""
    words = what.split()
    most, step = int(words[1]), SPIKE_STEP_BYTES if words[0] == "spike" else int(float(words[2]) * STEP_S)
    while sum(map(len, held)) < most:
        held.append(taken(step))
        if words[0] != "spike":
            return


def fork_memory(what: str) -> None:
    """`fork-memory COUNT EACH`: so many processes, each of which takes so much and waits."""
    count, each = map(int, what.split()[1:])
    program = (
        f"import time\nheld = []\nfor _ in range({each >> 20}):\n held.append(bytearray(b'x') * {1 << 20})\n"
        " time.sleep(0.005)\ntime.sleep(600)"
    )
    for _ in range(count):
        subprocess.Popen([sys.executable, "-I", "-S", "-c", program])


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
    elif what.startswith(("spike", "leak ")):
        grow(what, held)
    elif what.startswith("fork-memory") and not held:
        held.append(bytearray(1))  # once
        fork_memory(what)
    elif held and not what:
        held.clear()


def main() -> None:
    if fault() == "exit-loop":
        print("cannot start: the cause is still there", flush=True)
        sys.exit(1)
    heavy = taken(int(os.environ.get("DRILL_START", "0")))
    time.sleep(START_HELD_S if heavy else 0)
    del heavy
    kept = Kept(sys.argv[2]) if len(sys.argv) > 2 else None
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cycle, beaten, held = 0, 0.0, list[bytearray]()
    kept_always = taken(int(os.environ.get("DRILL_HOLDS", "0")))
    looked, gap = time.monotonic(), 0.0
    while True:
        cycle += 1
        now = time.monotonic()
        gap, looked = max(gap, now - looked) if fault() == "watch" else 0.0, now
        if gap:
            for at in range(0, len(kept_always), 4096):
                kept_always[at] = cycle & 0xFF  # what it works with must be there
            place(GAP, {"gap": gap})
        if now - beaten >= BEAT_S:
            beaten = now
            notify("READY=1", "WATCHDOG=1", f"X_CYCLE={cycle}")
            print(f"cycle {cycle} at {time.time():.3f}", flush=True)
        if kept is not None:
            kept.count()
        act(fault(), cycle, held)
        time.sleep(STEP_S)


if __name__ == "__main__":
    main()
