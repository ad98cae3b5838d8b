"""The resolved specification of a fleet: what the keeper receives and stores.

Everything is resolved here: defaults filled in, units turned into numbers, recipe and template applied, paths made
absolute. The YAML that users write is read in `load.py`. Durations are seconds, sizes are bytes.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from holdfast import limits


class Limits(Struct, frozen=True, kw_only=True):
    """Hard limits; None means none. `cpus` in cores."""

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None
    nofile: int | None = None


class HttpProbe(Struct, frozen=True, kw_only=True):
    """A GET whose answer must be the agent's own.

    `expect` maps dotted JSON fields to the value they must have; a non-JSON body fails when `expect` is not empty.
    `age_field`: dotted JSON field with the server's own uptime, in `age_unit_s` seconds per unit, which must not
    be larger than the age of the instance (else another process answers on the port).
    """

    url: str
    expect: dict[str, str | int | float | bool] = {}
    age_field: str | None = None
    age_unit_s: float = 1.0


class FileBeat(Struct, frozen=True, kw_only=True):
    """A file that a living loop touches: older than `max_age_s` is a missed deadline. `path` absolute."""

    path: str
    max_age_s: float = limits.FILE_BEAT_MAX_AGE_S


class CommandProbe(Struct, frozen=True, kw_only=True):
    """A command that says how the agent is, run with the agent's rights in a cgroup of its own.

    Exit 0 is well, 1 degraded (first line of output is why), anything else failing.
    `retries` failing runs in a row count.
    """

    command: tuple[str, ...]
    interval_s: float = limits.COMMAND_PROBE_INTERVAL_S
    timeout_s: float = limits.COMMAND_PROBE_TIMEOUT_S
    retries: int = limits.PROBE_STRIKES


class LogPattern(Struct, frozen=True, kw_only=True):
    """Lines matching `pattern` (Python regular expression), `count` of them within `within_s`, mean `then`."""

    pattern: str
    then: Literal["degraded", "failing"] = "degraded"
    count: int = 1
    within_s: float = limits.LOG_PATTERN_WITHIN_S


class LogWatch(Struct, frozen=True, kw_only=True):
    """What the agent's output tells. `silence_s`: no line for so long is failing; None: silence says nothing."""

    silence_s: float | None = None
    patterns: tuple[LogPattern, ...] = ()


class PushBeat(Struct, frozen=True, kw_only=True):
    """Beats by HTTP, in the shapes of healthchecks.io and Uptime Kuma: one each `every_s`, `grace_s` late at most.

    The token in the URL is drawn by the keeper and kept in the home, never in holdfast.yaml.
    """

    every_s: float
    grace_s: float = limits.PUSH_GRACE_S


class Health(Struct, frozen=True, kw_only=True):
    """How the agent is asked (`http`, `command`, `function`) and what it tells. All None: process level only."""

    http: HttpProbe | None = None
    start_gate: HttpProbe | None = None  # asked until it passes once after each start; None: `http` is the gate
    interval_s: float = limits.PROBE_INTERVAL_S
    timeout_s: float = limits.PROBE_TIMEOUT_S
    retries: int = limits.PROBE_STRIKES
    start_period_s: float = (
        limits.START_PERIOD_S
    )  # the gate must pass within this (stretched while the agent burns CPU)
    start_cpu_s: float | None = None  # CPU seconds a start may take; the deadline waits for them under load
    beat_s: float | None = None  # sd_notify beats are due this often; two missed are a failure, from the first on
    busy_max_s: float = limits.BUSY_MAX_S  # longest time a loop may declare itself busy at once
    file: FileBeat | None = None
    command: CommandProbe | None = None
    log: LogWatch | None = None
    push: PushBeat | None = None
    function: bool = True  # ask the recipe's own probe of function, where it has one
    function_interval_s: float = limits.FUNCTION_INTERVAL_S


class Stop(Struct, frozen=True, kw_only=True):
    signal: str = "TERM"
    grace_s: float = limits.STOP_GRACE_S
    hung_grace_s: float = limits.HUNG_GRACE_S


class PlannedTime(Struct, frozen=True, kw_only=True):
    """A time of day in a zone, on some days. `days`: 0 Monday .. 6 Sunday; empty: every day."""

    hour: int
    minute: int
    zone: str = "UTC"  # a name of the IANA data base
    days: tuple[int, ...] = ()


class Restart(Struct, frozen=True, kw_only=True):
    """The ladder's numbers for this agent, and its planned restarts."""

    backoff_s: tuple[float, ...] = limits.RESTART_BACKOFF_S
    window_s: float = limits.RESTART_WINDOW_S
    spacing_s: float = 0.0  # never two unplanned starts closer than this, the first restart excepted
    retry_s: float = limits.QUIET_TRY_FIRST_S  # first quiet try at tier 4; doubles up to one hour
    at: tuple[PlannedTime, ...] = ()
    when_idle: bool = False  # a planned restart waits for the agent to be idle, for up to `idle_wait_s`
    idle_wait_s: float = limits.IDLE_WAIT_S


class Dependency(Struct, frozen=True, kw_only=True):
    """The first start waits until the other agent is so. A later failure of the other changes nothing."""

    agent: str
    condition: Literal["started", "healthy", "finished"] = "started"


class Maintenance(Struct, frozen=True, kw_only=True):
    """Hands off: watched and recorded, but nothing is restarted and nobody is told.

    `on`: now and until it is taken out of the file; `windows`: from each time for `length_s`.
    """

    on: bool = False
    windows: tuple[PlannedTime, ...] = ()
    length_s: float = limits.MAINTENANCE_LENGTH_S


class Shipping(Struct, frozen=True, kw_only=True):
    """Where the agent's lines are sent as well. `kind` fixes the form; `url`: udp://, tcp://, unix:// or http(s)://."""

    kind: Literal["syslog", "loki", "otlp"]
    url: str
    headers: dict[str, str] = {}  # values are secrets


class Logs(Struct, frozen=True, kw_only=True):
    """How much of what the agent prints is kept, and the caps of files that it writes itself."""

    max_size_bytes: int = limits.LOG_FILE_BYTES  # of one file, before it is rotated
    max_files: int = limits.LOG_FILES
    max_age_s: float = limits.LOG_AGE_S
    total_bytes: int | None = None  # all of this agent's logs on disk; None: what size x files allows
    rate_lines_s: int | None = limits.LOG_RATE_LINES_S  # above it the agent is throttled, visibly; None: never
    files: tuple[str, ...] = ()  # absolute globs of files the agent writes itself
    files_max_bytes: int = limits.LOG_CAPPED_FILES_BYTES  # cap of each of them
    ship: tuple[Shipping, ...] = ()


class Resources(Struct, frozen=True, kw_only=True):
    """From when on the use of a resource is told. Shares of the limit, of one core, of the disk.

    A share of SHARE_NEVER is never reached: `off`.
    """

    memory_warn: float = limits.MEMORY_WARN_SHARE
    memory_alarm: float = limits.MEMORY_ALARM_SHARE
    cpu: float = limits.CPU_BUSY_SHARE
    cpu_for_s: float = limits.CPU_BUSY_FOR_S
    disk: float = limits.DISK_FULL_SHARE
    disk_bytes: int | None = None  # of the agent's own directories
    processes: int | None = None
    descriptors: float = limits.DESCRIPTORS_SHARE  # of the limit on open files


class State(Struct, frozen=True, kw_only=True):
    """What the agent keeps on disk, and how its versions are kept. No paths: no snapshots.

    `store`: a second place for the same objects: a URL (s3://, gs://, az://) or an absolute directory on another disk.
    """

    paths: tuple[str, ...] = ()  # absolute files or directories
    exclude: tuple[str, ...] = ()  # globs relative to each path, as in .gitignore: `cache/`, `*.tmp`, `a/**/b`
    every_s: float | None = limits.SNAPSHOT_EVERY_S  # None: only when asked, and before planned stops
    store: str | None = None
    store_every_s: float = limits.SNAPSHOT_STORE_EVERY_S  # the newest snapshot goes to the second place this often
    budget_bytes: int | None = None  # of this machine's disk; None: the smaller of SNAPSHOT_BUDGET_*
    encrypt: bool = True  # fixed when the agent's repository is made
    capture: Literal["guard", "freeze"] = "guard"


class AskMemory(Struct, frozen=True, kw_only=True):
    """How an agent is asked to give memory back: one of the three. A command runs with the agent's rights."""

    signal: str = ""  # with SIG
    url: str = ""
    command: tuple[str, ...] = ()


class Memory(Struct, frozen=True, kw_only=True):
    """What the agent needs of the node's memory, beside its hard limit (`limits.memory`).

    `min_bytes`: protected, whatever others need. `start_bytes`: lease of a start, as declared; None: what was seen of
    its starts, else `start_default_bytes`, which its recipe knows. `ask`: None: it knows nothing to give back.
    """

    min_bytes: int = 0
    start_bytes: int | None = None
    start_default_bytes: int | None = None
    ask: AskMemory | None = None


class Idle(Struct, frozen=True, kw_only=True):
    """What becomes of an agent that has had nothing to do for `after_s`."""

    after_s: float = limits.IDLE_AFTER_S
    action: Literal["freeze", "stop", "none"] = "none"


class Scaling(Struct, frozen=True, kw_only=True):
    """This agent is the `number`th (from 1) replica of `group`, of which as many run as its queue asks for."""

    group: str
    number: int
    least: int
    most: int
    per_queue_depth: float


class AgentSpec(Struct, frozen=True, kw_only=True):
    """One agent, fully resolved."""

    name: str
    command: tuple[str, ...]
    recipe: str = "process"
    working_dir: str
    env: dict[str, str] = {}
    secret_env: tuple[str, ...] = ()  # names in env whose values are masked everywhere
    user: str | None = None
    priority: int = limits.PRIORITY_DEFAULT
    labels: dict[str, str] = {}
    once: bool = False
    limits: Limits = field(default_factory=Limits)
    health: Health = field(default_factory=Health)
    stop: Stop = field(default_factory=Stop)
    restart: Restart = field(default_factory=Restart)
    depends_on: tuple[Dependency, ...] = ()
    maintenance: Maintenance = field(default_factory=Maintenance)
    logs: Logs = field(default_factory=Logs)
    resources: Resources = field(default_factory=Resources)
    state: State = field(default_factory=State)
    memory: Memory = field(default_factory=Memory)
    idle: Idle = field(default_factory=Idle)
    scaling: Scaling | None = None  # one of a number of replicas that follows a queue
    # exit code ("0".."255" or a signal such as "SIGABRT") -> meaning in words
    exit_codes: dict[str, str] = {}
    ask_codes: tuple[int, ...] = ()  # exit codes after which init may not restart by itself (e.g. 78)
    notify: bool = True  # whether NOTIFY_SOCKET is offered
    scrub_env: tuple[str, ...] = ()  # names that must not be in its environment, whoever would set them
    guarded_files: tuple[str, ...] = ()  # a change of these takes init's permit away
    recipe_data: dict[str, str] = {}  # what the recipe's adapter needs at run time, e.g. state_dir


class AlertChannel(Struct, frozen=True, kw_only=True):
    """One way to tell a person: exactly one of the three is set."""

    command: tuple[str, ...] | None = None  # the alert as JSON on standard input
    webhook: str | None = None  # POST of the alert as JSON
    ntfy: str | None = None  # POST of the text to this topic URL, title and priority as headers


class Node(Struct, frozen=True, kw_only=True):
    """How much of the machine's memory the fleet may use. None: see density.node_memory."""

    memory_bytes: int | None = None
    reserve_bytes: int | None = None


class FleetSpec(Struct, frozen=True, kw_only=True):
    """All of holdfast.yaml, resolved."""

    version: int = 1
    node: Node = field(default_factory=Node)
    source: str = ""  # path of the file it came from
    agents: tuple[AgentSpec, ...] = ()
    alerts: tuple[AlertChannel, ...] = ()
    last_resort: tuple[str, ...] = ()  # run by init when the keeper stays dead for 60 s
