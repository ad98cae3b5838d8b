"""What a machine was seen to have, what was made of it, and how far an adoption has come.

Plain data. Secrets stay out: of an environment only what is needed to run the agent again is kept, in a file of its own
with mode 0600, never in these. Used by every module of this package.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

Kind = Literal["openclaw", "hermes"]
FormerKind = Literal["systemd", "pm2", "process", "none"]


class Running(Struct, frozen=True, kw_only=True):
    """A process that may be a gateway or a part of one."""

    pid: int
    ppid: int
    starttime: int  # field 22 of /proc/PID/stat
    uid: int
    argv: tuple[str, ...]
    comm: str = ""
    exe: str = ""
    cwd: str = ""
    cgroup: str = ""
    env: dict[str, str] = {}
    ports: tuple[int, ...] = ()


class UnitFile(Struct, frozen=True, kw_only=True):
    """A systemd unit that names an agent."""

    name: str
    scope: Literal["system", "user"]
    uid: int  # whose manager runs it; 0 for the system's
    path: str
    exec_start: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    user: str = ""  # User= of a system unit
    enabled: bool = False


class Pm2App(Struct, frozen=True, kw_only=True):
    name: str
    uid: int
    pm2_home: str
    argv: tuple[str, ...]
    cwd: str = ""
    env: dict[str, str] = {}
    pid: int = 0  # 0: not running


class Place(Struct, frozen=True, kw_only=True):
    """What was read of a state directory."""

    kind: Kind
    path: str
    config: str
    uid: int
    port: int | None = None
    has_key: bool = False  # Hermes: its API server has the key without which it does not start


class Snapshot(Struct, frozen=True, kw_only=True):
    """One look at the machine, as `uid` may see it."""

    uid: int
    users: dict[int, tuple[str, str]] = {}  # uid -> name, home directory
    processes: tuple[Running, ...] = ()
    units: tuple[UnitFile, ...] = ()
    pm2: tuple[Pm2App, ...] = ()
    places: tuple[Place, ...] = ()
    programs: dict[str, str] = {}  # program on PATH, or a link that a unit starts -> real path
    versions: dict[str, str] = {}  # program -> what --version said


class Former(Struct, frozen=True, kw_only=True):
    """Who ran the agent until now. `was_*` are filled in when an adoption begins."""

    kind: FormerKind
    name: str = ""  # unit or pm2 app
    scope: Literal["system", "user"] = "system"
    uid: int = 0
    path: str = ""
    pm2_home: str = ""
    search: str = ""  # pm2: the PATH on which it and its Node are found
    kill_s: float = 0.0  # pm2: it kills what has not ended after this
    was_enabled: bool = False  # pm2: it is in the saved list
    was_active: bool = False

    @property
    def words(self) -> str:
        if self.kind == "systemd":
            return f"the systemd {'unit' if self.scope == 'system' else 'user unit'} {self.name}"
        if self.kind == "pm2":
            return f"pm2 ({self.name})"
        return "nobody (started by hand)" if self.kind == "process" else "nobody"


class Found(Struct, frozen=True, kw_only=True):
    """One installation of OpenClaw or Hermes."""

    kind: Kind
    uid: int
    user: str
    home_dir: str
    state_dir: str
    config: str
    port: int
    port_known: bool = False
    install: str = ""  # OpenClaw: holds node_modules/openclaw; Hermes: the virtual environment
    node: str = ""
    script: str = ""  # OpenClaw outside of a node_modules
    extra: tuple[str, ...] = ()  # arguments of the former command line that the recipe does not give
    version: str = ""
    has_key: bool = False
    pid: int = 0
    starttime: int = 0
    cwd: str = ""
    argv: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    former: Former = Former(kind="none")
    missing: tuple[str, ...] = ()  # why it cannot be adopted

    @property
    def running(self) -> bool:
        return self.pid > 0


class Adoption(Struct, kw_only=True):
    """The durable intent: enough to finish or to undo, whatever killed us. HOME/adoption/AGENT.json."""

    version: int = 1
    agent: str
    kind: Kind
    direction: Literal["adopt", "undo"] = "adopt"
    file: str  # holdfast.yaml
    file_existed: bool
    block: str  # the text that was put into it
    body: dict[str, Any] = field(default_factory=dict)  # the agent's entry
    comment: str = ""
    env_file: str = ""
    former_env: str = ""  # file with the former environment, for a start by hand
    former: Former
    former_argv: tuple[str, ...] = ()
    former_cwd: str = "/"
    uid: int
    state_dir: str
    port: int
    pid: int = 0
    starttime: int = 0
    begun: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    finished: bool = False
    reason: str = ""  # why it is being undone
