"""The resolved specification of a fleet: what the keeper receives and stores.

Everything is resolved here: defaults filled in, units turned into numbers, recipe and template applied, paths made
absolute. The YAML that users write is read in `load.py`. Durations are seconds, sizes are bytes.
"""

from __future__ import annotations

from msgspec import Struct, field


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


class Health(Struct, frozen=True, kw_only=True):
    """How the agent is asked. `http` None: process level only."""

    http: HttpProbe | None = None
    start_gate: HttpProbe | None = None  # asked until it passes once after each start; None: `http` is the gate
    interval_s: float = 2.0
    timeout_s: float = 0.5
    retries: int = 3
    start_period_s: float = 30.0  # the gate must pass within this (stretched while the agent burns CPU)
    start_cpu_s: float | None = None  # CPU seconds a start may take; the deadline waits for them under load


class Stop(Struct, frozen=True, kw_only=True):
    signal: str = "TERM"
    grace_s: float = 30.0
    hung_grace_s: float = 5.0


class Restart(Struct, frozen=True, kw_only=True):
    """The ladder's numbers for this agent."""

    backoff_s: tuple[float, ...] = (0.0, 10.0, 60.0)
    window_s: float = 900.0
    spacing_s: float = 0.0  # never two unplanned starts closer than this, the first restart excepted
    retry_s: float = 300.0  # first quiet try at tier 4; doubles up to one hour


class AgentSpec(Struct, frozen=True, kw_only=True):
    """One agent, fully resolved."""

    name: str
    command: tuple[str, ...]
    recipe: str = "process"
    working_dir: str
    env: dict[str, str] = {}
    secret_env: tuple[str, ...] = ()  # names in env whose values are masked everywhere
    user: str | None = None
    priority: int = 50
    labels: dict[str, str] = {}
    once: bool = False
    limits: Limits = field(default_factory=Limits)
    health: Health = field(default_factory=Health)
    stop: Stop = field(default_factory=Stop)
    restart: Restart = field(default_factory=Restart)
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


class FleetSpec(Struct, frozen=True, kw_only=True):
    """All of holdfast.yaml, resolved."""

    version: int = 1
    source: str = ""  # path of the file it came from
    agents: tuple[AgentSpec, ...] = ()
    alerts: tuple[AlertChannel, ...] = ()
    last_resort: tuple[str, ...] = ()  # run by init when the keeper stays dead for 60 s
