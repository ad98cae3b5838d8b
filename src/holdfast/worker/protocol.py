"""How the keeper and the worker speak: what goes over the line, and how a job can end.

Two kinds of sockets. The line (SOCK_SEQPACKET, one for each worker) carries one packet for each job, keeper to worker:
{"job": name}, with the job's own socket as an attached descriptor. The job's own socket (a stream) carries first the
request, one line: {"job": name, "args": {...}, "gentle": bool}; then, from the job, lines: {"begun": pid} |
{"progress": {"done", "total", "what"}} | {"chunk": n} followed by n raw bytes | {"mended": sentences about objects that
were damaged and are whole again} | {"result": {...}} |
{"error": {"kind", "detail", "lasting"}}; `kind` is one of Fault, or the code of a numbered error, whose `detail` then
fills its words. A stream that ends without a result or an error: the job was interrupted.

Invariant: a job whose socket has ended, ends: that is how one is cancelled, and what happens when the keeper dies.
Called by process.py, jobs.py and by the keeper's worker_link.py.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

LINE_MAX_BYTES = 64 * 1024 * 1024  # of one message: a listing of thousands of snapshots, never a file's content
REQUEST_MAX_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 256 * 1024  # content is handed on in pieces of about this size
PROGRESS_EVERY_S = 0.2  # more is more than a person sees, and each wakes the keeper up


class Fault(StrEnum):
    """Why a job brought no result."""

    INTERRUPTED = "interrupted"  # the worker or the job was ended, or could not be started
    CANCELLED = "cancelled"  # the keeper wanted it no more
    STALLED = "stalled"  # it stood still for too long
    BUSY = "busy"  # another writer holds the repository
    FULL = "full"  # no room on the disk
    NOT_FOUND = "not-found"  # no such snapshot, path or repository
    DAMAGED = "damaged"  # the repository does not hold what it should; `detail` says which object
    STORE = "store"  # the place that keeps the objects said no
    REFUSED = "refused"  # what was asked for makes no sense, or must not be
    FAILED = "failed"  # anything else


class JobFailed(Exception):
    """A job's end without a result. `kind`: a Fault or the code of a numbered error. `detail`: one clause for people,
    without secrets, or what fills the numbered error's words."""

    def __init__(self, kind: str, detail: str | dict[str, str], *, lasting: bool = False) -> None:
        super().__init__(str(detail))
        self.kind = kind
        self.detail = detail
        self.lasting = lasting  # asking again will not help


class Progress(Struct, frozen=True):
    """How far a job is. `total` 0: not known."""

    done: int
    total: int
    what: str = ""  # what is counted and where it stands, a few words
