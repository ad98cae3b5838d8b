"""`holdfast upgrade`: a newer Holdfast takes the place of the running one; agents do not notice, and it can go back.

The newer one is built aside, tried, and switched to; only then the former is let go. What decides and what is durable
stands in holdfast.upgrading; here is the command and the running Holdfast that it needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast import __version__, errors, limits
from holdfast.cli.session import Command, Session, pass_session
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.upgrading.journal import Side

LOOK_S = 0.2


@click.command(
    cls=Command,
    examples=[
        "holdfast upgrade --check             what runs, and what the package index offers",
        "holdfast upgrade                     take the newest",
        "holdfast upgrade --from ./holdfast-0.2.0-py3-none-any.whl",
        "holdfast upgrade --rollback          back to the one before",
    ],
)
@click.option("--check", "check", is_flag=True, help="Only say what is newest; nothing is changed.")
@click.option("--to", "version", metavar="VERSION", help="This version of the package index; the newest otherwise.")
@click.option("--from", "source", metavar="PATH", help="A wheel, or a source tree, instead of the package index.")
@click.option("--rollback", is_flag=True, help="Back to what ran before the last upgrade.")
@click.option("--activate", is_flag=True, help="Have the running Holdfast take the code of this very command.")
@pass_session
def upgrade(
    session: Session, check: bool, version: str | None, source: str | None, rollback: bool, activate: bool
) -> None:
    """Put a newer Holdfast in the place of the running one. Agents keep running; a failure goes back by itself."""
    if sum((check, bool(version), bool(source), rollback, activate)) > 1:
        reason = "--check, --to, --from, --rollback and --activate exclude each other"
        raise HoldfastError(errors.USAGE, reason=reason, command="holdfast upgrade")
    if check:
        _check(session)
        return
    session.home.prepare()
    with _alone(session):
        if activate:
            _activate(session)
        elif rollback:
            _rollback(session)
        else:
            _upgrade(session, source, version)


def _upgrade(session: Session, source: str | None, version: str | None) -> None:
    from holdfast.upgrading import release, switching
    from holdfast.upgrading.journal import Side

    home, running = session.home.path, RunningHoldfast(session)
    _refuse_what_is_not_ours(session, source)
    with contextlib.suppress(HoldfastError):  # it went back: what is asked for now goes on
        switching.settle(home, running, session.hint)
    former = _present(session)
    session.hint("building it beside the running one …")
    name = release.build(home, str(Path(source).absolute()) if source else "", version)
    if name == former.release:
        _done(session, f"{name} runs already", name, former, changed=False)
        return
    release.check(home, name, running.file())
    to = Side(services=release.services(home, name), release=name, words=name)
    switching.switch(home, running, to, former, session.hint)
    release.tidy(home, (name, former.release))
    _done(session, f"{name} runs; `holdfast upgrade --rollback` goes back to {former.words}", name, former)


def _rollback(session: Session) -> None:
    from holdfast.upgrading import journal, switching

    home, running = session.home.path, RunningHoldfast(session)
    if switching.settle(home, running, session.hint):
        _done(session, "the interrupted upgrade was finished; repeat the command to go back", "", _present(session))
        return
    last = journal.load(home)
    if last is None:
        raise HoldfastError(
            errors.USAGE, reason="there is nothing to go back to", command="holdfast upgrade --rollback"
        )
    switching.switch(home, running, last.former, last.to, session.hint)
    _done(session, f"{last.former.words} runs again", last.former.release, last.to)


def _activate(session: Session) -> None:
    """What a tool that installs in place needs afterwards; a release of ours is no longer in charge then."""
    from holdfast.cli import starting
    from holdfast.node import installation
    from holdfast.upgrading import switching
    from holdfast.upgrading.journal import Side

    former, ours = _present(session), installation.find(session.home)
    release = ours.prefix.name if ours.kind == "release" else ""
    text = starting.services_text(session.home, None).decode()
    to = Side(services=text, release=release, words=release or f"Holdfast {__version__}")
    switching.switch(session.home.path, RunningHoldfast(session), to, former, session.hint)
    _done(session, f"{to.words} runs", release, former)


def _check(session: Session) -> None:
    from holdfast.upgrading import release

    newest = release.newest()
    is_newer = release.version_key(newest) > release.version_key(__version__)
    if session.as_json:
        session.answer({"version": __version__, "newest": newest, "newer": is_newer})
        return
    end = "`holdfast upgrade` takes it" if is_newer else "nothing to do"
    session.say(f"{__version__} is installed, the package index offers {newest}: {end}")


def _refuse_what_is_not_ours(session: Session, source: str | None) -> None:
    """Raises UPGRADE_ELSEWHERE where another tool installs Holdfast and would not know of a release of ours."""
    from holdfast.node import installation

    kind = installation.find(session.home).kind
    what = f"--force {source}" if source else "holdfast"
    tools = {
        "pipx": ("pipx", f"pipx install {what}" if source else "pipx upgrade holdfast"),
        "uv": ("uv tool", f"uv tool install {what}" if source else "uv tool upgrade holdfast"),
        "system": ("this machine's Python", "pip install --upgrade holdfast, or your package manager"),
        "checkout": ("a checkout of its source", "git pull"),
    }
    if kind in tools and not (kind == "checkout" and source):
        tool, command = tools[kind]
        raise HoldfastError(errors.UPGRADE_ELSEWHERE, tool=tool, command=command)


def _present(session: Session) -> Side:
    """What runs now, or would run: what services.json names, else the code of this command."""
    from holdfast.cli import starting
    from holdfast.node.installation import CURRENT, RELEASES
    from holdfast.upgrading.journal import Side

    home = session.home
    try:
        text = home.services.read_text()
        parent = str(json.loads(text)["code"]["parent"])
    except (OSError, ValueError, KeyError, TypeError):
        text, parent = starting.services_text(home, None).decode(), ""
    releases = home.path / RELEASES
    with contextlib.suppress(OSError):
        name = os.readlink(releases / CURRENT)
        if parent.startswith(f"{os.path.realpath(releases)}/{name}/"):
            return Side(services=text, release=name, words=name)
    return Side(services=text, words=f"Holdfast in {parent}" if parent else f"Holdfast {__version__}")


def _done(session: Session, words: str, release: str, former: Side, *, changed: bool = True) -> None:
    if session.as_json:
        session.answer({"release": release, "former": former.words, "changed": changed, "text": words})
    else:
        session.say(words)


@contextlib.contextmanager
def _alone(session: Session) -> Iterator[None]:
    """One upgrade at a time in a home; the lock is the kernel's and dies with us."""
    fd = os.open(session.home.path / "upgrade.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        reason = "another `holdfast upgrade` is at work here"
        raise HoldfastError(errors.USAGE, reason=reason, command="holdfast upgrade") from error
    finally:
        os.close(fd)


class RunningHoldfast:
    """The Holdfast of this home, for an upgrade."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.client = session.client()

    def file(self) -> str:
        """The holdfast.yaml in force, "" when none is known."""
        try:
            return str(self.client.get("/v1/fleet").get("source", ""))
        except HoldfastError:
            return ""

    def healthy(self) -> dict[str, int]:
        """See upgrading.switching.Running."""
        try:
            rows = self.client.get("/v1/status")["agents"]
        except HoldfastError:
            return {}
        return {row["name"]: row["pid"] for row in rows if row["phase"] == "healthy" and row["pid"]}

    def renew(self, services: str) -> None:
        from holdfast.cli.renewing import renew

        renew(self.session.home, self.client, limits.RENEW_S, services.encode())

    def proven(self, services: str, agents: Mapping[str, int]) -> str:
        from holdfast.cli import starting
        from holdfast.upgrading.switching import judge

        if not starting.is_owned(self.session.home):
            return ""
        if not self._init_runs(services):
            return "init runs another code"
        status = _steady(self._status, limits.UPGRADE_PROVE_S)
        if status is None:
            return "its keeper does not stay up"
        return judge(agents, {row["name"]: row["pid"] for row in status["agents"]})

    def _init_runs(self, services: str) -> bool:
        from holdfast.cli.renewing import ask

        wanted = json.loads(services).get("code")
        answer = ask(self.session.home, {"op": "code"})
        return not wanted or answer.get("code", {}).get("parent") == wanted["parent"]

    def _status(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.client.get("/v1/status")
        except HoldfastError:
            return None
        return found


def _steady(look: Callable[[], dict[str, Any] | None], timeout_s: float) -> dict[str, Any] | None:
    """The status told by one and the same keeper for UPGRADE_STEADY_S; None when there was no such keeper in time."""
    deadline_mono = time.monotonic() + timeout_s
    pid, since_mono = None, 0.0
    while time.monotonic() < deadline_mono:
        status = look()
        rows = status["holdfast"]["processes"] if status else []
        now = next((row["pid"] for row in rows if row["name"] == "keeper"), None)
        if now is None or now != pid:
            pid, since_mono = now, time.monotonic()
        elif time.monotonic() - since_mono >= limits.UPGRADE_STEADY_S:
            return status
        time.sleep(LOOK_S)
    return None
