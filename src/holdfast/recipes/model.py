"""One protocol for every recipe: data it gives an agent, and small adapters the keeper calls at run time.

A recipe knows one kind of agent and nothing of Holdfast's processes. Invariant: no hook changes anything; what must be
written is returned as FileWrite and done by the caller, as the agent's user. Called by keeper, pods and `check`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from holdfast.spec.model import AgentSpec
from holdfast.spec.recipe import Finding, RecipeForm
from holdfast.spec.validator import Validator


class PodFacts(Struct, frozen=True, kw_only=True):
    """What a pod has decided for one instance, before its program is started."""

    home_dir: str  # home directory of the user it runs as
    tmpdir: str


class Launch(Struct, frozen=True, kw_only=True):
    """How to start it: `env` goes on top of the pod's own environment, then `scrub` is removed."""

    argv: tuple[str, ...]
    env: dict[str, str]
    scrub: tuple[str, ...] = ()


class FileWrite(Struct, frozen=True, kw_only=True):
    """A file to write before an act, with the rights of the agent's user (it may own every directory on the way)."""

    path: str
    data: bytes
    mode: int = 0o600


class FunctionProbe(Struct, frozen=True, kw_only=True):
    """A program that asks the agent how it works, run with the agent's rights, environment and directory.

    It prints one JSON line {"judgement": "ok" | "degraded" | "failing" | "unknown", "detail", "facts"}. Secrets reach
    it by `env` or the agent's own files, never by `argv`.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = {}


class Quiesce(Struct, frozen=True, kw_only=True):
    """How an agent is brought to rest for the moment of a snapshot, and let go: two programs as FunctionProbe.

    `begin` prints "ok" when it rests, else why it does not; `end` lets it go, also after a `begin` that was cut short,
    and may be run when nothing rests. `lease_s`: after which it goes on by itself, whatever became of us.
    """

    begin: FunctionProbe
    end: FunctionProbe
    lease_s: float


class Recipe(RecipeForm, Protocol):
    """A ready agent definition."""

    starts_on_damage: bool  # its program starts on damaged state and goes on without it: look before it is started

    def prepare(self, spec: AgentSpec, facts: PodFacts) -> Launch:
        """Completes command and environment with what is only known at the start."""

    def before_stop(
        self, spec: AgentSpec, pid: int, starttime: int, *, stopper_pid: int, now_at: float
    ) -> tuple[FileWrite, ...]:
        """Files that make the agent take the coming stop signal as planned. `starttime`: field 22 of /proc/PID/stat."""

    def explain_exit(self, spec: AgentSpec, code: int | None, signal: int | None, last_log_lines: Sequence[str]) -> str:
        """One clause saying what the exit means; both None: unknown. Never holds a secret."""

    def inspector_port(self, spec: AgentSpec) -> int | None:
        """Port on which the agent's own Node inspector listens and may be asked for the stack of a hung agent.

        None: it may not. SIGUSR1 is never sent: it would open one for every local user.
        """

    def check(self, spec: AgentSpec) -> tuple[Finding, ...]:
        """What is missing or doubtful around the agent, by reading the disk; for `holdfast check`."""

    def function_probe(self, spec: AgentSpec) -> FunctionProbe | None:
        """The probe of function; None: this kind of agent has none. Pure and cheap: asked often."""

    def state_validators(self, spec: AgentSpec) -> tuple[Validator, ...]:
        """What must be whole below its state paths for it to start. Pure."""

    def quiesce(self, spec: AgentSpec) -> Quiesce | None:
        """How it is brought to rest for a planned snapshot; None: this kind of agent cannot be. Pure."""

    def stale_after_restore(self, spec: AgentSpec) -> tuple[str, ...]:
        """What an older version of its state may no longer open: sentences, by reading the names on its disk."""

    def clone_options(self, spec: AgentSpec, port: int) -> dict[str, Any] | None:
        """The recipe's block for a copy that listens on `port`, with the original's paths; None: it has a command."""

    def clone_env(self, spec: AgentSpec) -> dict[str, str]:
        """Environment with which a copy of it starts without its channels and schedules. Pure."""

    def clone_notes(self, spec: AgentSpec) -> tuple[str, ...]:
        """What a person must do or know before a copy of it is started: sentences. Pure."""
