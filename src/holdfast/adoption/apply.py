"""Carrying an adoption out, step by step, forwards or back; a kill at any point is finished or undone later.

Invariants: each step is on disk before it is done, and may be done again; at no time do two gateways write the same
state (the former one is seen to be gone before ours starts, and ours before the former one comes back); a failure on
the way forwards turns round by itself. The fleet is reached through `Fleet`, which the command line gives.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from holdfast import errors, limits, recipes
from holdfast.adoption import declare, former, plan, quiet
from holdfast.adoption.journal import Journal, directory, write
from holdfast.adoption.model import Adoption, Found
from holdfast.errors import HoldfastError
from holdfast.files import write_atomic
from holdfast.home import Home
from holdfast.spec.model import AgentSpec, FleetSpec

BACK = ("rest", "out", "gone", "undeclare", "back")
LOOK_S = 0.2
Say = Callable[[str], None]


class Fleet(Protocol):
    """The running Holdfast, as an adoption needs it. Every act may be repeated."""

    def put(self, agent: AgentSpec, whole: FleetSpec) -> None:
        """Start Holdfast unless it runs, and want this agent up beside those it has."""

    def state(self, name: str) -> tuple[str, str]:
        """Phase and reason of the agent; ("", "") when there is none or no keeper answers."""

    def take_out(self, name: str) -> None:
        """Stop the agent gracefully and forget it."""

    def left(self, name: str) -> bool:
        """Whether any process of the agent lives."""


def intend(home: Home, found: Found, name: str, file: Path) -> Journal:
    """Prepare the durable intent; nothing outside of the home is changed. Raises HoldfastError."""
    home.prepare()
    place = directory(home)
    text = _read(file)
    env = plan.carried(found)
    if plan.needs_key(found):
        import secrets

        env["API_SERVER_KEY"] = secrets.token_hex(24)
    env_file = str(place / f"{name}.env") if env else ""
    former_env = str(place / f"{name}.former.env") if found.env else ""
    body = plan.declaration(found, os.geteuid() == 0, env_file)
    comment = f"Adopted from {found.former.words}; `holdfast adopt undo` gives it back."
    _, block = declare.insert(text or "", name, body, comment, str(file))
    owner = former.observe(found.former)
    if env_file:
        write(Path(env_file), plan.env_text(env, "What the agent was started with; kept by `holdfast adopt`.").encode())
    if former_env:
        kept = {key: value for key, value in found.env.items() if plan.is_plain(key, value)}
        write(Path(former_env), plan.env_text(kept, "The whole former environment, for `adopt undo`.").encode())
    if text is not None:
        write(place / f"{name}.holdfast.yaml.before", text.encode())
    adoption = Adoption(
        agent=name,
        kind=found.kind,
        file=str(file),
        file_existed=text is not None,
        block=block,
        body=body,
        comment=comment,
        env_file=env_file,
        former_env=former_env,
        former=owner,
        former_argv=plan.former_command(found),
        former_cwd=found.cwd or "/",
        uid=found.uid,
        state_dir=found.state_dir,
        port=found.port,
        pid=found.pid,
        starttime=found.starttime,
    )
    _try_out(file, text or "", name, body, comment)
    return Journal(home, adoption)


def go_on(journal: Journal, fleet: Fleet, say: Say, quiet_s: float, timeout_s: float) -> None:
    """Do what is left, in the recorded direction. Raises ADOPTION_FAILED (it is back), ADOPTION_STUCK (it is not)."""
    adoption = journal.adoption
    if adoption.direction == "undo":
        undo(journal, fleet, say, quiet_s)
        return
    forwards: dict[str, Callable[[], None]] = {
        "declare": lambda: _declare(adoption),
        "quiet": lambda: _wait_for_quiet(adoption, say, quiet_s),
        "stop": lambda: former.end(adoption, _spec(adoption)),
        "clear": lambda: _see_that_it_is_gone(adoption),
        "up": lambda: fleet.put(*_specs(adoption)),
        "healthy": lambda: _wait_until_healthy(adoption, fleet, timeout_s),
    }
    for step in plan.STEPS:
        if step in adoption.done:
            continue
        say(f"{_WORDS[step]} …")
        journal.begin(step)
        try:
            forwards[step]()
        except HoldfastError as error:
            reason = error.summary
            say(f"failed: {reason}; going back to the former way")
            journal.turn(reason)
            undo(journal, fleet, say, 0.0)
            raise HoldfastError(errors.ADOPTION_FAILED, agent=adoption.agent, step=step, reason=reason) from error
        journal.end(step)
    adoption.finished = True
    journal.save()


def undo(journal: Journal, fleet: Fleet, say: Say, quiet_s: float) -> None:
    """Give it back to whoever ran it before. Raises ADOPTION_STUCK: then neither way runs, and repeating goes on.

    Its work is waited for up to `quiet_s`, then cut off.
    """
    adoption = journal.adoption
    if adoption.direction != "undo":
        journal.turn("asked for")
    backwards: dict[str, Callable[[], None]] = {
        "rest": lambda: _let_it_rest(adoption, say, quiet_s),
        "out": lambda: fleet.take_out(adoption.agent),
        "gone": lambda: _see_that_ours_is_gone(adoption, fleet),
        "undeclare": lambda: _undeclare(adoption),
        "back": lambda: _bring_back(adoption),
    }
    for step in BACK:
        if step in adoption.done:
            continue
        say(f"{_WORDS[step]} …")
        journal.begin(step)
        try:
            backwards[step]()
        except HoldfastError as error:
            raise HoldfastError(
                errors.ADOPTION_STUCK, agent=adoption.agent, step=_WORDS[step], reason=error.summary
            ) from error
        journal.end(step)
    journal.forget()


_WORDS = {
    "declare": "writing it into holdfast.yaml",
    "quiet": "waiting for a moment without work",
    "stop": "ending the former one gracefully",
    "clear": "seeing that nothing of it is left",
    "up": "starting it under Holdfast",
    "healthy": "waiting until it is healthy",
    "rest": "waiting for a moment without work",
    "out": "taking it out of Holdfast",
    "gone": "seeing that nothing of it is left",
    "undeclare": "taking it out of holdfast.yaml",
    "back": "bringing back the former way",
}


# --- forwards ----------------------------------------------------------------------------------------------------
def _declare(adoption: Adoption) -> None:
    file = Path(adoption.file)
    text = _read(file) or ""
    if adoption.block in text:
        return
    new, adoption.block = declare.insert(text, adoption.agent, adoption.body, adoption.comment, str(file))
    _replace(file, new)


def _wait_for_quiet(adoption: Adoption, say: Say, quiet_s: float) -> None:
    """Raises ADOPTION_REFUSED when its work takes longer: then it was never ended."""
    try:
        rests = quiet.wait(adoption, say, quiet_s)
    except KeyboardInterrupt:
        quiet.over(adoption)  # whatever is decided later, it works on until then
        raise
    if not rests:
        reason = f"still at work after {quiet_s:g} s; give it more with --wait S, or cut its work off with --wait 0"
        raise HoldfastError(errors.ADOPTION_REFUSED, what=adoption.agent, reason=reason)


def _see_that_it_is_gone(adoption: Adoption) -> None:
    deadline_mono = time.monotonic() + limits.ADOPT_CLEAR_S
    while not former.is_gone(adoption):
        if time.monotonic() > deadline_mono:
            raise HoldfastError(
                errors.ADOPTION_REFUSED, what=adoption.agent, reason=f"something still holds port {adoption.port}"
            )
        time.sleep(LOOK_S)
    quiet.over(adoption)


def _wait_until_healthy(adoption: Adoption, fleet: Fleet, timeout_s: float) -> None:
    deadline_mono = time.monotonic() + timeout_s
    while True:
        phase, why = fleet.state(adoption.agent)
        if phase == "healthy":
            return
        if time.monotonic() > deadline_mono or phase == "escalated":
            reason = f"{phase or 'not there'}: {why}" if why else phase or "it is not there"
            raise HoldfastError(
                errors.WAIT_TIMED_OUT, timeout_s=f"{timeout_s:g}", agents=f"{adoption.agent} ({reason})"
            )
        time.sleep(LOOK_S)


# --- back --------------------------------------------------------------------------------------------------------
def _let_it_rest(adoption: Adoption, say: Say, quiet_s: float) -> None:
    if "up" in adoption.begun and not quiet.wait(adoption, say, quiet_s):
        say(f"still at work after {quiet_s:g} s: that is cut off")


def _see_that_ours_is_gone(adoption: Adoption, fleet: Fleet) -> None:
    deadline_mono = time.monotonic() + limits.ADOPT_CLEAR_S
    while fleet.left(adoption.agent):
        if time.monotonic() > deadline_mono:
            raise HoldfastError(errors.ADOPTION_REFUSED, what=adoption.agent, reason="it still runs under Holdfast")
        time.sleep(LOOK_S)


def _undeclare(adoption: Adoption) -> None:
    file = Path(adoption.file)
    text = _read(file)
    if text is None:
        return
    left = declare.remove(text, adoption.agent, adoption.block)
    if not adoption.file_existed and not left.strip():
        with contextlib.suppress(OSError):
            file.unlink()
    elif left != text:
        _replace(file, left)


def _bring_back(adoption: Adoption) -> None:
    quiet.over(adoption)
    former.bring_back(adoption)
    deadline_mono = time.monotonic() + limits.ADOPT_START_S
    while not former.runs(adoption):
        if time.monotonic() > deadline_mono:
            raise HoldfastError(
                errors.ADOPTION_REFUSED, what=adoption.agent, reason=f"nobody listens on port {adoption.port} again"
            )
        time.sleep(LOOK_S)


# --- the file ----------------------------------------------------------------------------------------------------
def _try_out(file: Path, text: str, name: str, body: dict[str, object], comment: str) -> None:
    """Read the coming file as `up` would, beside the real one. Raises SPEC_INVALID, leaving nothing behind."""
    trial = file.with_name(f".{file.name}.adopt")
    new, _ = declare.insert(text, name, body, comment, str(file))
    try:
        write_atomic(trial, new.encode())
        recipes.load(trial)
        wrong = [each for each in recipes.check(trial) if each.severity == "error" and f"agents.{name}." in each.field]
        if wrong:
            reason = "; ".join(f"found {each.found}, expected {each.expected}" for each in wrong)
            raise HoldfastError(errors.ADOPTION_REFUSED, what=name, reason=reason)
    except OSError as error:
        raise HoldfastError(errors.ADOPTION_REFUSED, what=file, reason=error.strerror or error) from error
    finally:
        with contextlib.suppress(OSError):
            trial.unlink()


def _replace(file: Path, text: str) -> None:
    """Write the user's file, keeping its owner and mode; through a link to the file itself."""
    real = Path(os.path.realpath(file))
    try:
        try:
            status = real.stat()
        except FileNotFoundError:
            write_atomic(real, text.encode(), mode=0o644)
            return
        write_atomic(real, text.encode(), mode=status.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(real, status.st_uid, status.st_gid, follow_symlinks=False)  # its directory may be the user's
    except OSError as error:
        raise HoldfastError(errors.ADOPTION_REFUSED, what=file, reason=error.strerror or error) from error


def _read(file: Path) -> str | None:
    """None when there is no such file. Raises SPEC_UNREADABLE."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise HoldfastError(errors.SPEC_UNREADABLE, file=file, reason=error) from error


def _specs(adoption: Adoption) -> tuple[AgentSpec, FleetSpec]:
    whole = recipes.load(Path(adoption.file))
    agent = next((each for each in whole.agents if each.name == adoption.agent), None)
    if agent is None:
        raise HoldfastError(
            errors.ADOPTION_REFUSED, what=adoption.file, reason=f"it no longer declares {adoption.agent}"
        )
    return agent, whole


def _spec(adoption: Adoption) -> AgentSpec:
    return _specs(adoption)[0]
