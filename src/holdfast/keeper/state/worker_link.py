"""The keeper's line to the worker: started with the first job, replaced when it is dead.

Invariants: each job has a socket of its own, so one that nobody reads holds up no other, and what is read is whole; a
job ends with a result or with JobFailed, in bounded time after it stands still; a job that nobody waits for any more is
ended. Called by snapshots.py; the other side is worker/process.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncGenerator
from typing import Any

from holdfast import limits
from holdfast.keeper.tasks import Tasks
from holdfast.worker.protocol import LINE_MAX_BYTES, Fault, JobFailed

Message = dict[str, Any]
"""{"progress": {...}} | {"chunk": bytes} | {"result": {...}}"""


class WorkerLink:
    """`close` ends the worker and its jobs."""

    module = ("-m", "holdfast.worker")

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._line: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    @property
    def pid(self) -> int:
        """Of the worker; 0 while there is none."""
        return self._process.pid if self._process is not None and self._line is not None else 0

    async def job(self, name: str, args: dict[str, Any], *, gentle: bool = False) -> AsyncGenerator[Message, None]:
        """What the job says, the result last. Raises JobFailed. Closing the iterator ends the job."""
        reader, writer = await self._begin(name, args, gentle)
        try:
            while True:
                message = await _next(reader, limits.WORKER_STALL_S)
                if "error" in message:
                    told = message["error"]
                    raise JobFailed(told["kind"], told["detail"], lasting=bool(told.get("lasting")))
                yield message
                if "result" in message:
                    return
        finally:
            writer.close()

    async def ask(self, name: str, args: dict[str, Any], *, gentle: bool = False) -> dict[str, Any]:
        """The result alone. Raises JobFailed."""
        async with contextlib.aclosing(self.job(name, args, gentle=gentle)) as said:
            async for message in said:
                if "result" in message:
                    result: dict[str, Any] = message["result"]
                    return result
        raise JobFailed(Fault.INTERRUPTED, "the job ended without an answer")

    def close(self) -> None:
        self._closed = True
        self._let_go()

    # --- the process ---------------------------------------------------------------------------------------------
    async def _begin(
        self, name: str, args: dict[str, Any], gentle: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The job's socket, once it says that it has begun. One that a dying worker took with it is begun again.

        Raises JobFailed.
        """
        request = json.dumps({"job": name, "args": args, "gentle": gentle}).encode() + b"\n"
        for last in (False, True):
            line, writer, ours, theirs = None, None, *socket.socketpair()
            try:
                with theirs:
                    line = await self._there()
                    ours.setblocking(False)
                    reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_MAX_BYTES)
                    writer.write(request)
                    socket.send_fds(line, [json.dumps({"job": name}).encode()], [theirs.fileno()])
            except OSError as error:
                # Closed by whom it belongs to: the loop would take the next socket of the same number for this one.
                (writer or ours).close()
                failed = JobFailed(Fault.INTERRUPTED, f"the worker could not be started: {error.strerror or error}")
            else:
                try:
                    await _next(reader, limits.WORKER_BEGINS_S)
                    return reader, writer
                except JobFailed as error:
                    writer.close()
                    failed = error
                except BaseException:
                    writer.close()
                    raise
            if line is not None and self._line is line:
                self._let_go()
            if last or self._closed:
                raise failed
        raise AssertionError("the last try returned or raised")

    async def _there(self) -> socket.socket:
        async with self._starting:
            if self._closed:
                raise ConnectionResetError(104, "the keeper is leaving")
            if self._line is None:
                self._line = await self._start()
            return self._line

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", *self.module, str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    cwd="/",
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            raise
        ours.setblocking(False)
        asyncio.get_running_loop().add_reader(ours, self._ended, ours)
        self._process = process
        self._tasks.spawn(_reap(process))
        return ours

    def _ended(self, line: socket.socket) -> None:
        """The worker says nothing on the line: what can be read is its end. Its jobs end by their own sockets."""
        with contextlib.suppress(BlockingIOError, InterruptedError):
            try:
                if line.recv(1):
                    return
            except ConnectionError:
                pass
            if self._line is line:
                self._let_go()

    def _let_go(self) -> None:
        if self._line is not None:
            asyncio.get_running_loop().remove_reader(self._line)
            self._line.close()
            self._line = None


async def _next(reader: asyncio.StreamReader, patience_s: float) -> Message:
    """One message. Raises JobFailed when the job is gone or stands still."""
    try:
        async with asyncio.timeout(patience_s):
            line = await reader.readline()
            if not line.endswith(b"\n"):
                raise JobFailed(Fault.INTERRUPTED, "the worker was ended in the middle of it")
            message: Message = json.loads(line)
            if "chunk" in message:
                message["chunk"] = await reader.readexactly(message["chunk"])
            return message
    except TimeoutError as error:
        raise JobFailed(Fault.STALLED, f"it stood still for {patience_s:.0f} s") from error
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        raise JobFailed(Fault.INTERRUPTED, "the worker was ended in the middle of it") from error


async def _reap(process: asyncio.subprocess.Process) -> None:
    """A keeper that leaves does not wait for it: it ends by itself, since its line has ended."""
    with contextlib.suppress(asyncio.CancelledError):
        await process.wait()
