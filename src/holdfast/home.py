"""The home directory of one Holdfast: where everything of it lives, by name.

HOME/                0711 as root (agents of other users pass through to their own place), 0700 otherwise
  guard.lock         flock: the one owner of this home
  home.id            random id; part of every cgroup name and instance id
  services.json      how init starts keeper and logger; written by `up`
  init/              init's two journals
  run/               sockets (elsewhere when the path would be too long for a socket)
  keeper.db          the keeper's durable store        ledger/    the hash chain
  logs/AGENT/        what agents print                 log/       what Holdfast's own processes print
  agents/AGENT/tmp/  TMPDIR of the agent               incidents/ post-mortems
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from holdfast import errors, limits
from holdfast.files import write_atomic

LONGEST_SOCKET_NAME = "notify.sock"

# Where the sockets of a home with a long path go: the first of these that this user can write to.
SHORT_BASES = ("/tmp", "/dev/shm", "/var/tmp")


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one home. Creating the object touches nothing; `prepare` makes the directories."""

    path: Path

    @property
    def guard_lock(self) -> Path:
        return self.path / "guard.lock"

    @property
    def keeper_lock(self) -> Path:
        return self.path / "keeper.lock"

    @property
    def services(self) -> Path:
        return self.path / "services.json"

    @property
    def database(self) -> Path:
        return self.path / "keeper.db"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def own_logs(self) -> Path:
        return self.path / "log"

    @property
    def incidents(self) -> Path:
        return self.path / "incidents"

    @property
    def init(self) -> Path:
        return self.path / "init"

    @property
    def run(self) -> Path:
        """Directory of the sockets: HOME/run, or a short hashed directory when that is too long for one."""
        inside = self.path / "run"
        if len(os.fsencode(inside / LONGEST_SOCKET_NAME)) <= limits.SOCKET_PATH_MAX_BYTES:
            return inside
        import hashlib  # a fifth of a short command's start; most homes have short paths

        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        # Every process must come to the same answer, so no TMPDIR; /tmp is not everybody's on every machine.
        usable = [base for base in SHORT_BASES if os.access(base, os.W_OK | os.X_OK)]
        return Path(f"{(usable or SHORT_BASES)[0]}/holdfast-{os.getuid()}-{digest}")

    @property
    def api_socket(self) -> Path:
        return self.run / "api.sock"

    @property
    def init_socket(self) -> Path:
        return self.run / "init.sock"

    @property
    def notify_socket(self) -> Path:
        return self.run / LONGEST_SOCKET_NAME

    def agent(self, name: str) -> Path:
        """An agent's own directory."""
        return self.path / "agents" / name

    def agent_logs(self, name: str) -> Path:
        return self.logs / name

    def agent_fifo(self, name: str) -> Path:
        return self.logs / name / "fifo"

    def agent_lock(self, name: str) -> Path:
        return self.path / "locks" / name

    def home_id(self) -> str:
        """The random id of this home; `prepare` must have run."""
        return (self.path / "home.id").read_text().strip()

    def prepare(self) -> None:
        """Make every directory, idempotent. Raises HoldfastError HOME_UNUSABLE with the reason."""
        outer = 0o711 if os.getuid() == 0 else 0o700
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _own(self.path, outer)
            for inner in (self.init, self.ledger, self.logs, self.own_logs, self.incidents, self.path / "locks"):
                inner.mkdir(exist_ok=True)
                _own(inner, 0o700)
            (self.path / "agents").mkdir(exist_ok=True)
            _own(self.path / "agents", outer)
            self.run.mkdir(exist_ok=True)
            _own(self.run, outer)
            if not (self.path / "home.id").exists():
                write_atomic(self.path / "home.id", os.urandom(4).hex().encode() + b"\n", mode=0o644)
        except OSError as error:
            raise errors.HoldfastError(errors.HOME_UNUSABLE, home=self.path, reason=error.strerror or error) from error


def _own(path: Path, mode: int) -> None:
    """Refuse a directory that somebody else owns (a planted one in /tmp), then set its mode."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(1, f"{path} belongs to somebody else", str(path))
    if stat.S_IMODE(status.st_mode) != mode:
        os.chmod(path, mode)


def find_home(option: str | None) -> Home:
    """`--home`, else HOLDFAST_HOME, else /var/lib/holdfast as root or ~/.holdfast."""
    chosen = option or os.environ.get("HOLDFAST_HOME")
    if chosen:
        return Home(Path(chosen).expanduser().absolute())
    if os.getuid() == 0:
        return Home(Path("/var/lib/holdfast"))
    return Home(Path("~/.holdfast").expanduser())
