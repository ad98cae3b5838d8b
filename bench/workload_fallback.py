"""The workload in Python, for machines without a C compiler: same arguments, same first act, slower to start.

Run by the supervisors under measurement as `python -I -S workload_fallback.py NAME STARTS MODE [ARG...]`.
"""

import time

STARTED_NS = time.monotonic_ns()

import os  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402


def record_start(name: str, path: str, now_ns: int = STARTED_NS) -> None:
    """One O_APPEND write, so that lines of many processes never mix."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    os.write(fd, f"{now_ns} {os.getpid()} {name}\n".encode())
    os.close(fd)


def print_lines(rate: float, size_bytes: int) -> None:
    number = 0
    while True:
        number += 1
        os.write(1, f"{number:020d} ".encode().ljust(max(size_bytes, 24) - 1, b".") + b"\n")
        if rate > 0:
            time.sleep(1 / rate)


def flood(total_bytes: int, name: str, done_path: str) -> None:
    number = 0
    for _ in range(0, total_bytes, 8192):
        lines = [f"{number + index:020d} ".encode().ljust(127, b".") + b"\n" for index in range(64)]
        number += 64
        view = memoryview(b"".join(lines))
        while view:
            view = view[os.write(1, view) :]
    record_start(name, done_path, time.monotonic_ns())


def beat_socket() -> socket.socket:
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.connect(os.environ["NOTIFY_SOCKET"])
    return told


def say_cycle(told: socket.socket, cycle: int) -> int:
    """How long it had to wait in ns."""
    data = f"WATCHDOG=1\nX_CYCLE={cycle}".encode()
    try:
        told.send(data, socket.MSG_DONTWAIT)
        return 0
    except BlockingIOError:
        begun = time.monotonic_ns()
        told.send(data)
        return time.monotonic_ns() - begun


def beat(period_us: int, count: int, name: str, done: str, go: str) -> None:
    while not os.path.exists(go):
        time.sleep(0.1)
    period_s = abs(period_us) / 1e6
    begin = int(time.monotonic()) + 1 + (0.0 if period_us < 0 else os.getpid() * 0.007919 % period_s)
    told, waits = beat_socket(), []
    for cycle in range(1, count + 1):
        time.sleep(max(0.0, begin + (cycle - 1) * period_s - time.monotonic()))
        waits.append(say_cycle(told, cycle))
    fd = os.open(done, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    os.write(fd, f"{name} {count} {sum(wait > 0 for wait in waits)} {max(waits)} 0\n".encode())


def beat_beside(period_s: float) -> None:
    told, cycle = beat_socket(), 0
    while True:
        cycle += 1
        say_cycle(told, cycle)
        time.sleep(period_s)


def serve_http(port: int) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Health(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "11")
            self.end_headers()
            self.wfile.write(b'{"ok":true}')

        def log_message(self, *arguments: object) -> None:
            """Nothing is printed: the supervisor is measured, not its log."""

    HTTPServer(("127.0.0.1", port), Health).serve_forever()


def main(arguments: list[str]) -> None:
    name, starts, mode, *rest = arguments
    record_start(name, starts)
    if mode == "print":
        print_lines(float(rest[0]), int(rest[1]))
    if mode == "flood":
        while not os.path.exists(rest[2]):
            time.sleep(0.01)
        flood(int(rest[0]), name, rest[1])
    if mode == "beat":
        beat(int(rest[0]), int(rest[1]), name, rest[2], rest[3])
    if mode == "http":
        if len(rest) > 1 and int(rest[1]) > 0:
            import threading

            threading.Thread(target=beat_beside, args=(int(rest[1]) / 1000,), daemon=True).start()
        serve_http(int(rest[0]))
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
