"""As much of an OpenClaw gateway's WebSocket RPC as its recipe speaks: `answers` by method; what is asked is kept."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any, Self


class Gateway:
    """Listens on a free port of loopback. A method without an answer is refused."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.answers: dict[str, dict[str, Any]] = {"connect": {"server": {"version": "1"}}}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was closed already
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock:
                self._talk(sock)

    def _talk(self, sock: socket.socket) -> None:
        file = sock.makefile("rb")
        while file.readline().strip():
            pass
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while (head := file.read(2)) and len(head) == 2 and head[0] & 0x0F == 1:
            length = head[1] & 0x7F
            length = int.from_bytes(file.read(2), "big") if length == 126 else length
            mask = file.read(4)
            request = json.loads(bytes(byte ^ mask[at % 4] for at, byte in enumerate(file.read(length))))
            self.asked.append((request["method"], request["params"]))
            found = self.answers.get(request["method"])
            told = {"type": "res", "id": request["id"], "ok": found is not None, "payload": found}
            data = json.dumps(told).encode()
            size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")
            sock.sendall(b"\x81" + size + data)
