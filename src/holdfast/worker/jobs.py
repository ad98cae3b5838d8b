"""The jobs by name, and what is around each: its call, its errors as words for people, its end.

Invariants: a job says exactly one of result and error, unless it is ended from outside; when its socket ends it is told
so by `Cancelled`, raised wherever it stands, once, so that locks and half-made files are put away; one that does not
end then is killed. Runs in the worker's children; called by process.py.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from holdfast import limits
from holdfast.init import kernel
from holdfast.worker.call import Call, explain
from holdfast.worker.protocol import REQUEST_MAX_BYTES, Fault, JobFailed

_IOPRIO = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}  # ioprio_set
_IOPRIO_IDLE = 3 << 13


class Cancelled(BaseException):
    """Nobody waits for this job any more. No `except Exception` takes it."""


Job = Callable[[Call], dict[str, Any]]


def load() -> dict[str, Job]:
    """All jobs by name; imports what they need. Called before the first fork, so that no child imports anything."""
    from holdfast.state.store import sealing
    from holdfast.worker import listing, looking, restore_steps, snapshotting, upkeep, uploading, verifying

    sealing.cipher(bytes(32))
    return {
        "snapshot": snapshotting.snapshot,
        "snapshots": listing.snapshots,
        "log": looking.log,
        "cat": looking.cat,
        "du": looking.du,
        "key": looking.key,
        "verify": verifying.verify,
        "diff": looking.diff,
        "upload": uploading.send,
        "gc-second": uploading.collect,
        "tidy": upkeep.tidy,
        "gc": upkeep.collect,
        "delete-snapshot": upkeep.delete,
        "undelete-snapshot": upkeep.undelete,
        "pin": upkeep.pin,
        "prove": upkeep.prove,
        "mark-good": upkeep.mark_good,
        "remove": upkeep.remove,
        "bring-back": upkeep.bring_back,
        "clear-removed": upkeep.clear_removed,
        "export": looking.export,
        "restore-locate": restore_steps.locate,
        "restore-build": restore_steps.build,
        "restore-exchange": restore_steps.swap,
        "restore-settle": restore_steps.settle,
        "restore-back": restore_steps.back,
        "restore-recover": restore_steps.recover,
        "restore-keep": restore_steps.keep,
        "restore-drop": restore_steps.drop,
        "check-state": restore_steps.check,
    }


def run(link: socket.socket) -> int:
    """One job, from its request to its last word; the exit code of its process."""
    try:
        request = _request(link)
        signal.signal(signal.SIGTERM, _cancel)
        threading.Thread(target=_watch, args=(link,), daemon=True).start()
        if request.get("gentle"):
            be_gentle()
        call = Call(link, request["args"])
        kernel.name_process(f"hf:{request['job']}")
        call.say({"begun": os.getpid()})
        outcome = _outcome(call, str(request["job"]))
        if call.args.get("mended"):
            call.say({"mended": call.args["mended"]})
        call.say(outcome)
    except (OSError, Cancelled):
        return 1  # nobody listens any more
    return 0


def _outcome(call: Call, name: str) -> dict[str, Any]:
    try:
        return {"result": load()[name](call)}
    except JobFailed as failed:
        return {"error": {"kind": failed.kind, "detail": failed.detail, "lasting": failed.lasting}}
    except Exception as error:
        kind, detail, lasting = explain(error)
        if kind is Fault.FAILED:
            traceback.print_exc()
            sys.stderr.flush()
        return {"error": {"kind": kind, "detail": detail, "lasting": lasting}}


def be_gentle() -> None:
    """Behind everybody else, for CPU and disk. Wishes: where the kernel refuses, the job runs as it is."""
    try:
        os.nice(limits.SNAPSHOT_NICE)
    except OSError:
        pass
    number = _IOPRIO.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(ctypes.c_long(number), 1, 0, _IOPRIO_IDLE)


def _request(link: socket.socket) -> dict[str, Any]:
    """The keeper writes it before it hands the socket over. Raises OSError when it is gone."""
    data = bytearray()
    while not data.endswith(b"\n"):
        piece = link.recv(65536)
        if not piece or len(data) > REQUEST_MAX_BYTES:
            raise ConnectionResetError(errno.ECONNRESET, "no request")
        data += piece
    request: dict[str, Any] = json.loads(data)
    return request


def _watch(link: socket.socket) -> None:
    """In a thread: the keeper says nothing more, so what can be read is the end."""
    try:
        link.recv(1)
    except OSError:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(limits.WORKER_JOB_ENDS_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _cancel(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # putting away is not interrupted again
    raise Cancelled
