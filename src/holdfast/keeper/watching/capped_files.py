"""Has the log files that agents write themselves kept within `logs.files_max`, and tells what became of them.

Invariants: the control loop touches no path of an agent: a helper process does (logs/capping.py), one at a time, and
one that takes too long is ended; with no `logs.files` in the fleet there is no wake-up and no process; nothing here
restarts anything. A start that the keeper orders waits, in bounded time, for files that could not be cut while the
agent ran. Called by the health loop (agents change) and by hands.py before a start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from holdfast import limits
from holdfast.errors import HoldfastError
from holdfast.health.model import Judgement, Observed
from holdfast.home import Home
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.tasks import Tasks
from holdfast.logs import capping
from holdfast.logs.capped import What, shown
from holdfast.printable import one_line

SOURCE = "log-files"
NOTICE_MAX_BYTES = 1024  # well below what a FIFO takes in one piece
_PATH_COLUMNS = 160

Rights = tuple[int, int, tuple[int, ...]]
File = dict[str, Any]


class CappedFiles:
    """`rights_of`: user, group and groups of an agent, None for our own; `report`: Behaviour's door."""

    def __init__(
        self,
        agents: dict[str, Agent],
        home: Home,
        tasks: Tasks,
        recorder: Recorder,
        rights_of: Callable[[Agent], Rights | None],
        report: Callable[[Observed, float], None],
    ) -> None:
        self._agents = agents
        self._home = home
        self._tasks = tasks
        self._recorder = recorder
        self._rights_of = rights_of
        self._report = report
        self._standing: dict[str, str] = {}  # by agent: what is said of files over their cap
        self._waiting: set[str] = set()  # agents with a file that is cut once they are down
        self._instances: dict[str, int] = {}
        self._said: dict[str, set[str]] = {}  # recorded already
        self._turn = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    # --- when ----------------------------------------------------------------------------------------------------
    def follow(self, agent: Agent, now_mono: float) -> None:
        """The agent, its ladder or its spec changed. Idempotent."""
        name = agent.name
        if not agent.spec.logs.files:
            self._forget(agent, now_mono)
            return
        self._arm(limits.CAPPED_LOOK_S)
        if agent.ladder.running and self._instances.get(name) != agent.ladder.instance:
            self._instances[name] = agent.ladder.instance
            if name in self._waiting:  # restarted in one go: its file may be cut before it is opened again
                self._arm(limits.CAPPED_SOON_S)
            self._tell(agent, now_mono)

    def _forget(self, agent: Agent, now_mono: float) -> None:
        if self._standing.pop(agent.name, ""):
            self._tell(agent, now_mono)
        self.gone(agent.name)

    def gone(self, name: str) -> None:
        """The agent was taken out of the fleet. Idempotent."""
        self._waiting.discard(name)
        for kept in (self._standing, self._instances, self._said):
            kept.pop(name, None)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._closed or (self._timer is not None and self._timer.when() <= loop.time() + delay_s):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(delay_s, self._due)

    def _due(self) -> None:
        self._timer = None
        asked = [agent for agent in self._agents.values() if agent.spec.logs.files]
        if asked:
            self._tasks.spawn(self._round(asked))

    async def _round(self, agents: Sequence[Agent]) -> None:
        try:
            await self.look(agents)
        finally:
            self._arm(limits.CAPPED_LOOK_S)

    # --- before a start ------------------------------------------------------------------------------------------
    def waits(self, agent: Agent) -> bool:
        """Whether a file of its is to be cut before it is started."""
        return agent.name in self._waiting and bool(agent.spec.logs.files)

    async def settle(self, agent: Agent) -> None:
        """Cut them now, while nobody has them open. Bounded, never raises."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.CAPPED_START_WAIT_S):
                await self.look([agent])

    # --- looking -------------------------------------------------------------------------------------------------
    async def look(self, agents: Sequence[Agent]) -> None:
        """One look at the files of these agents, and what follows from it. Never raises for what it meets."""
        async with self._turn:
            asked = [entry for agent in agents if (entry := self._entry(agent)) is not None]
            if not asked:
                return
            answers = await _ask(self._home, asked)
        for answer in answers:
            known = self._agents.get(answer["agent"])
            if known is not None:
                self._hear(known, answer["files"], more=answer["more"])

    def _entry(self, agent: Agent) -> dict[str, Any] | None:
        logs = agent.spec.logs
        try:
            rights = self._rights_of(agent)
        except (HoldfastError, OSError):
            return None  # it has no user yet, and so no files
        uid, gid, groups = rights or (None, None, ())
        return {
            "agent": agent.name,
            "globs": logs.files,
            "cap_bytes": logs.files_max_bytes,
            "max_age_s": logs.max_age_s,
            "uid": uid,
            "gid": gid,
            "groups": groups,
        }

    def _hear(self, agent: Agent, files: list[File], *, more: bool) -> None:
        cap_bytes = agent.spec.logs.files_max_bytes
        for file in files:
            if file["what"] == What.CUT:
                text = words_of_cut(file)
                body = {key: value for key, value in file.items() if key not in ("what", "path")}
                self._recorder.record("log-file.cut", agent.name, text, {"path": _path(file), **body})
                self._notice(agent, text)
        standing = [file for file in files if file["what"] != What.CUT]
        said, self._said[agent.name] = self._said.get(agent.name, set()), {_path(file) for file in standing}
        for file in standing:
            if _path(file) not in said:
                self._recorder.record("log-file.left", agent.name, words_of_left(file, cap_bytes))
        self._waiting.discard(agent.name)
        if any(file["what"] == What.WAITS for file in standing):
            self._waiting.add(agent.name)
        text = "; ".join(words_of_left(file, cap_bytes) for file in standing[: limits.CAPPED_SHOWN])
        unnamed = len(standing) - limits.CAPPED_SHOWN
        text += f"; and {unnamed} more" if unnamed > 0 else ""
        text += ("; " if text else "") + "not all of its log files could be looked at" if more else ""
        text += f"; stop {agent.name} and start it again to have it cut" if agent.name in self._waiting else ""
        if text != self._standing.get(agent.name, ""):
            self._standing[agent.name] = text
            self._tell(agent, asyncio.get_running_loop().time())

    def _tell(self, agent: Agent, now_mono: float) -> None:
        text = self._standing.get(agent.name, "")
        if not text and SOURCE not in agent.observed:
            return
        seen = Observed(
            agent=agent.name,
            instance=agent.ladder.instance,
            source=SOURCE,
            judgement=Judgement.DEGRADED if text else Judgement.OK,
            detail=text,
        )
        self._report(seen, now_mono)

    def _notice(self, agent: Agent, text: str) -> None:
        """A line in the agent's log, in one piece; a log that takes nothing now goes without."""
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self._home.agent_fifo(agent.name), flags)
            try:
                os.write(fd, f"holdfast: {text}".encode()[:NOTICE_MAX_BYTES] + b"\n")
            finally:
                os.close(fd)


# --- words -------------------------------------------------------------------------------------------------------
def words_of_cut(file: File) -> str:
    """What became of a file that was cut, one sentence. Pure."""
    cut, kept = int(file["cut_bytes"]), int(file["kept_bytes"])
    text = f"{_path(file)} was over its cap: {shown(cut)} were cut away"
    if file["no_room"]:
        text += f", {shown(kept)} of them are kept: the disk is full" if kept else " and not kept: the disk is full"
    elif kept < cut:
        text += f", the last {shown(kept)} of them are kept beside it"
    else:
        text += ", kept beside it"
    if file["emptied"] and not file["no_room"]:
        lost = int(file["lost_bytes"])
        text += f"; {shown(lost)} written meanwhile are lost" if lost else "; lines of that instant may be lost"
    return text


def words_of_left(file: File, cap_bytes: int) -> str:
    """Why a file is still over its cap, one clause. Pure."""
    return f"{_path(file)} has {shown(int(file['bytes']))} (cap {shown(cap_bytes)}): {one_line(file['why'])}"


def _path(file: File) -> str:
    """Printable and valid UTF-8, whatever the agent called it."""
    return one_line(str(file["path"]).encode("utf-8", "replace").decode(), _PATH_COLUMNS)


# --- the helper process ------------------------------------------------------------------------------------------
async def _ask(home: Home, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers that came; a helper that takes too long is ended."""
    module = ("-P", "-m", capping.__name__, "--home", str(home.path), "--parent", str(os.getpid()))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *module),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd="/",
            limit=limits.CAPPED_ANSWER_MAX_BYTES,
        )
    except OSError:
        return []
    assert process.stdin is not None
    assert process.stdout is not None
    answers: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(limits.CAPPED_ROUND_MAX_S):
            process.stdin.write(json.dumps({"agents": asked}).encode() + b"\n")
            process.stdin.close()
            async for line in process.stdout:
                answers.append(json.loads(line))
            await process.wait()
    except (TimeoutError, OSError, ValueError):
        pass  # what was told until then is good
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    return answers
