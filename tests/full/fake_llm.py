"""A local OpenAI-compatible model server that answers as told: at once, slowly, never, with HTTP 500, or with a tool.

Invariants: it listens on loopback only; every call is counted before it is answered; `hang` ends when the mode
changes or the server closes, so nothing waits for ever. Used by the tests of this folder inside their own process
(`with FakeLlm() as llm`), and by hand: `python tests/full/fake_llm.py --port 18999`.

Modes are set with `llm.answer("slow", 20)` or `POST /control {"mode": "slow", "seconds": 20}`.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

MODES = ("ok", "slow", "hang", "500", "tool")
REPLY = "hello from the fake model"
USAGE = {
    "prompt_tokens": 1234,
    "completion_tokens": 20,
    "total_tokens": 1254,
    "prompt_tokens_details": {"cached_tokens": 1000},
}
HANG_MAX_S = 900.0  # even a forgotten hang ends


@dataclass(slots=True)
class Call:
    """One call of the model: when it began, and when its answer was sent whole (None: not yet, or cut off)."""

    began_mono: float
    stream: bool
    model: str
    mode: str
    answered_mono: float | None = None
    broken: bool = False


class FakeLlm:
    """The server in a thread of its own. `base_url` ends with /v1."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[Call] = []
        self._changed = threading.Condition()
        self._mode, self._seconds, self._generation = "ok", 0.0, 0
        self._tool: tuple[str, str] = ("", "")
        self._server = _Server(("127.0.0.1", port), _Handler, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FakeLlm:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answer("ok")  # lets hanging calls go
        self._server.shutdown()
        self._server.server_close()

    def answer(self, mode: str, seconds: float = 0.0) -> None:
        """How calls are answered from now on; calls that hang or wait are let go."""
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is none of {MODES}")
        with self._changed:
            self._mode, self._seconds = mode, seconds
            self._generation += 1
            self._changed.notify_all()

    def ask_for_tool(self, name: str, arguments: dict[str, Any]) -> None:
        """Answer each turn by asking the agent to run this tool once, then with the usual words."""
        with self._changed:
            self._tool = (name, json.dumps(arguments))
        self.answer("tool")

    @property
    def tool(self) -> tuple[str, str]:
        """Name and JSON arguments of the tool that mode `tool` asks for."""
        return self._tool

    def in_flight(self) -> int:
        with self._changed:
            return sum(1 for call in self.calls if call.answered_mono is None and not call.broken)

    def wait_for_call(self, count: int, timeout_s: float) -> None:
        """Until `count` calls have come in. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.calls) >= count, timeout_s):
                raise TimeoutError(f"{len(self.calls)} calls of the model after {timeout_s} s, wanted {count}")

    def take(self, stream: bool, model: str) -> tuple[Call, float, int]:
        """Count one call; says how it is to be answered."""
        with self._changed:
            call = Call(began_mono=time.monotonic(), stream=stream, model=model, mode=self._mode)
            self.calls.append(call)
            self._changed.notify_all()
            return call, self._seconds, self._generation

    def hold(self, generation: int, timeout_s: float) -> None:
        """Wait `timeout_s`, or until the mode is changed."""
        with self._changed:
            self._changed.wait_for(lambda: self._generation != generation, timeout_s)

    def finish(self, call: Call, broken: bool) -> None:
        with self._changed:
            call.broken = broken
            call.answered_mono = None if broken else time.monotonic()
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], llm: FakeLlm) -> None:
        super().__init__(address, handler)
        self.llm = llm

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle is the point of many tests: no traceback."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60  # idle keep-alive connections of killed clients do not keep threads

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": "fake-1", "object": "model", "owned_by": "fake"}]})
        elif self.path == "/calls":
            llm = self.server.llm
            self._json(200, {"calls": len(llm.calls), "in_flight": llm.in_flight()})
        else:
            self._json(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or b"{}")
        if self.path == "/control":
            self.server.llm.answer(str(body["mode"]), float(body.get("seconds", 0)))
            self._json(200, {"ok": True})
        elif self.path == "/v1/chat/completions":
            self._complete(body)
        else:
            self._json(404, {"error": {"message": "not found"}})

    def _complete(self, body: dict[str, Any]) -> None:
        llm = self.server.llm
        call, seconds, generation = llm.take(bool(body.get("stream")), str(body.get("model")))
        if call.mode == "tool" and any(message.get("role") == "tool" for message in body.get("messages", ())):
            call.mode = "ok"  # the tool has run: now the words
        with self._counted(call):
            if call.mode == "500":
                self._json(500, {"error": {"message": "the fake model fails as told", "type": "server_error"}})
                return
            wait_s = {"slow": seconds, "hang": HANG_MAX_S}.get(call.mode, 0.0)
            if call.mode == "tool":
                self._use_tool(call, *llm.tool)
            elif call.stream:
                wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
                self._stream(call, wants_usage, lambda: llm.hold(generation, wait_s))
            else:
                llm.hold(generation, wait_s)
                self._json(200, _completion(call))

    @contextmanager
    def _counted(self, call: Call) -> Iterator[None]:
        broken = True
        try:
            yield
            broken = False
        except OSError:
            self.close_connection = True
        finally:
            self.server.llm.finish(call, broken)

    def _use_tool(self, call: Call, name: str, arguments: str) -> None:
        wanted = {"id": "call_fake_1", "type": "function", "function": {"name": name, "arguments": arguments}}
        if not call.stream:
            answer = _completion(call)
            answer["choices"][0] |= {
                "message": {"role": "assistant", "content": None, "tool_calls": [wanted]},
                "finish_reason": "tool_calls",
            }
            self._json(200, answer)
            return
        self._begin_stream()
        self._event(_chunk(call, {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **wanted}]}))
        self._event(_chunk(call, {}, finish="tool_calls"))
        self._event({**_chunk(call, {}), "choices": [], "usage": USAGE})
        self._end_stream()

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _end_stream(self) -> None:
        self._piece(b"data: [DONE]\n\n")
        self._piece(b"")

    def _stream(self, call: Call, wants_usage: bool, wait: Callable[[], None]) -> None:
        self._begin_stream()
        self._event(_chunk(call, {"role": "assistant", "content": ""}))
        wait()  # after the first chunk: a slow model that has begun to speak
        for word in REPLY.split(" "):
            self._event(_chunk(call, {"content": word + " "}))
        self._event(_chunk(call, {}, finish="stop"))
        if wants_usage:
            self._event({**_chunk(call, {}), "choices": [], "usage": USAGE})
        self._end_stream()

    def _event(self, payload: dict[str, Any]) -> None:
        self._piece(b"data: " + json.dumps(payload).encode() + b"\n\n")

    def _piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")
        self.wfile.flush()

    def _json(self, status: int, payload: dict[str, Any]) -> None:
        body = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _chunk(call: Call, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": int(time.time()), "model": call.model,
        "choices": [choice],
    }  # fmt: skip


def _completion(call: Call) -> dict[str, Any]:
    message = {"role": "assistant", "content": REPLY}
    return {
        "id": "chatcmpl-fake", "object": "chat.completion", "created": int(time.time()), "model": call.model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", choices=MODES, default="ok")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with FakeLlm(options.port) as llm:
        llm.answer(options.mode, options.seconds)
        print(llm.base_url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
