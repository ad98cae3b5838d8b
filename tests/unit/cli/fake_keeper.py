"""A keeper's API with fixed answers, on a real Unix socket in a thread. The command line is tested against it."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, Any]  # status, and JSON or bytes
Route = Callable[["Request"], Answer]


class Request:
    def __init__(self, method: str, target: str, body: bytes) -> None:
        parts = urlsplit(target)
        self.method, self.path, self.body = method, parts.path, body
        self.query = {key: values[-1] for key, values in parse_qs(parts.query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")


class FakeKeeper:
    """`routes[("GET", "/v1/status")]` is an answer or a function; every request is kept in `seen`."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], Answer | Route] = {("GET", "/v1/status"): (200, status())}
        self.seen: list[Request] = []

    def asked(self, method: str, path: str) -> list[Request]:
        return [one for one in self.seen if (one.method, one.path) == (method, path)]


def agent(name: str = "web", **changes: Any) -> dict[str, Any]:
    row = {
        "name": name,
        "phase": "healthy",
        "pid": 4242,
        "instance": 1,
        "health": {"process": "ok", "endpoint": "ok", "behaviour": "off"},
        "tier": 0,
        "restarts": 0,
        "uptime_s": 75.0,
        "rss_bytes": 12_000_000,
        "why": "All checks pass.",
        "next": "Asked again in 2 s.",
        "labels": {},
        "priority": 50,
        "user": None,
    }
    return {**row, **changes}


def status(*agents: dict[str, Any], warnings: tuple[dict[str, str], ...] = ()) -> dict[str, Any]:
    own = [
        {"name": name, "pid": 100 + i, "restarts": 0} for i, name in enumerate(("guard", "init", "keeper", "logger"))
    ]
    return {
        "holdfast": {"version": "0.1.0", "processes": own},
        "agents": list(agents),
        "warnings": list(warnings),
    }


def refusal(code: str, name: str, message: str, exit_code: int) -> dict[str, Any]:
    return {"error": {"code": code, "name": name, "message": message, "next": "Do it.", "exit_code": exit_code}}


@contextmanager
def serving(socket_path: Path) -> Iterator[FakeKeeper]:
    fake = FakeKeeper()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, self.path, body)
            fake.seen.append(request)
            missing = (404, refusal("HF2001", "AgentNotFound", f"there is no {request.path}", 4))
            route = fake.routes.get((request.method, request.path), missing)
            code, value = route(request) if callable(route) else route
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    socket_path.parent.mkdir(parents=True, exist_ok=True)
    with Server(str(socket_path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
