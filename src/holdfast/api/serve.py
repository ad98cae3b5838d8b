"""Serves the API on the home's Unix socket, for its owner alone.

uvicorn's HTTP protocol is used without uvicorn's server, whose loop wakes ten times a second; an idle keeper
sleeps. Called by the keeper's start-up, which holds keeper.lock: only therefore may a stale socket be removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from holdfast import limits
from holdfast.api.app import make_app
from holdfast.api.push_listener import PushListener
from holdfast.keeper.keeper import Keeper


@contextlib.asynccontextmanager
async def serve_keeper(keeper: Keeper) -> AsyncIterator[None]:
    """Serve a keeper's API for as long as the context is open. Raises OSError when the socket cannot be made."""
    server = await serve(make_app(keeper), bind(keeper.home.api_socket))
    pushes = keeper.listening.pushes
    listener = PushListener(pushes.hear)
    pushes.opened, pushes.closing = listener.open, listener.close
    if pushes.door.sock is not None:
        listener.open(pushes.door.sock)
    try:
        yield
    finally:
        listener.close()
        server.close()


def bind(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600 from its first moment. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        sock.bind(os.fspath(path))
    finally:
        os.umask(mask)
    sock.listen(128)
    return sock


async def serve(app: ASGIApp, sock: socket.socket) -> asyncio.AbstractServer:
    """Accept from now on. Close the server returned to end it; connections are then cut."""
    config = Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=limits.API_KEEP_ALIVE_S,
        limit_concurrency=limits.API_CONNECTIONS_MAX,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(lambda: H11Protocol(config, state, {}, loop), sock=sock)
