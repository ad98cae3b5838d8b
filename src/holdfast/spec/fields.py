"""The keys of an agent, in one table: how each is read, what it means, its default, and why that default.

Invariant: a key that is not in this table is an error, and every key has exactly one default. Called by `layers.py`
(reading), `resolve.py` (defaults), `explain.py` (what is in force and why) and `schema.py` (what editors are told);
the reference page is checked against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast import limits
from holdfast.spec import amounts, blocks, keeping, readers, sharing, watching
from holdfast.spec.model import Maintenance
from holdfast.spec.readers import Shaped
from holdfast.spec.recipe import Default, Path


@dataclass(frozen=True, slots=True)
class Field:
    """One key. `means`: one clause; `why`: of the default; `unit`: "s", "bytes" or "share", for showing numbers;
    `each`: the key is a mapping with names of the user's choice."""

    read: Shaped
    default: Any
    why: str
    means: str
    unit: str = ""
    each: bool = False


_AGENT: dict[Path, Field] = {
    ("recipe",): Field(
        readers.text, "process", "any program that runs in the foreground", "the ready definition it is built on"
    ),
    ("template",): Field(readers.text, None, "no template", "the template whose keys lie under its own"),
    ("replicas",): Field(
        sharing.replicas,
        None,
        "one agent with the plain name",
        "so many agents, named NAME-1 to NAME-n, or {min, max, per_queue_depth}: as many as a queue asks for",
    ),
    ("command",): Field(
        readers.words, None, "a recipe may give it, else it is required", "the program and its arguments; no shell"
    ),
    ("working_dir",): Field(readers.path, None, "the directory of the file", "the directory it starts in"),
    ("env",): Field(readers.env_value, None, "a clean environment", "variables of its environment", each=True),
    ("env_file",): Field(readers.paths, (), "none", "files of NAME=value lines; all of them secret"),
    ("user",): Field(readers.user, None, "chosen at start; see the guide on users", "the user it runs as"),
    ("priority",): Field(
        amounts.whole(0, limits.PRIORITY_MAX),
        limits.PRIORITY_DEFAULT,
        "the middle; larger is kept longer",
        "larger is started first, and kept longer when memory runs short",
    ),
    ("labels",): Field(readers.label_value, None, "none", "names that selectors choose by", each=True),
    ("once",): Field(
        readers.switch, False, "an agent runs for ever; exit 0 is followed by a restart", "exit 0 means finished"
    ),
    ("notify",): Field(
        readers.notify, True, "beats are optional; the socket costs nothing", "whether NOTIFY_SOCKET is offered"
    ),
    ("depends_on",): Field(
        blocks.dependencies, (), "starts at once", "agents that must be started, healthy or finished before its start"
    ),
    ("limits", "memory"): Field(
        amounts.size(limits.MEMORY_LIMIT_MIN_BYTES, none="none"), None, "no limit", "most memory it may use", "bytes"
    ),
    ("limits", "cpus"): Field(amounts.cpus, None, "no limit", "most cores it may use"),
    ("limits", "pids"): Field(amounts.count(1, 4_194_304), None, "no limit", "most processes and threads"),
    ("limits", "nofile"): Field(amounts.count(16, 1_073_741_816), None, "what the system gives", "most open files"),
}
_HEALTH: dict[Path, Field] = {
    ("health", "http"): Field(watching.http, None, "process level only", "a URL that is asked, or {url, expect}"),
    ("health", "interval"): Field(
        amounts.duration(0.1, 86_400),
        limits.PROBE_INTERVAL_S,
        "a hung agent is noticed within seconds",
        "time between two questions",
        "s",
    ),
    ("health", "timeout"): Field(
        amounts.duration(0.01, 3600), limits.PROBE_TIMEOUT_S, "local answers take milliseconds", "for one answer", "s"
    ),
    ("health", "retries"): Field(
        amounts.whole(1, 100), limits.PROBE_STRIKES, "one slow answer is no illness", "bad answers in a row that count"
    ),
    ("health", "start_period"): Field(
        amounts.duration(0),
        limits.START_PERIOD_S,
        "stretched while the agent burns CPU",
        "time until the first good answer after a start",
        "s",
    ),
    ("health", "beat"): Field(
        amounts.duration(1, 86_400, off=True),
        None,
        "few programs beat; those that do are held to it from their first beat on",
        "its sd_notify beats are due this often; two missed are a failure",
        "s",
    ),
    ("health", "busy_max"): Field(
        amounts.duration(1, 86_400),
        limits.BUSY_MAX_S,
        "the longest model call with tools that a loop may announce",
        "longest time for which it may declare itself busy at once",
        "s",
    ),
    ("health", "file"): Field(
        watching.file, None, "nothing is looked at", "a file that a living loop touches, or {path, max_age}"
    ),
    ("health", "command"): Field(
        watching.command,
        None,
        "nothing is run",
        "a command whose exit says how it is: 0 well, 1 degraded, else failing",
    ),
    ("health", "log"): Field(
        watching.log, None, "what it prints says nothing", "silence and lines of its output that mean something"
    ),
    ("health", "push"): Field(
        watching.push, None, "no URL is made", "beats by HTTP are due this often, or {every, grace}", "s"
    ),
    ("health", "function"): Field(
        watching.function,
        limits.FUNCTION_INTERVAL_S,
        "a recipe that can ask whether its agent works does; others ask nothing",
        "the recipe's own question: on, off, or {interval}",
        "s",
    ),
}
_LIFE: dict[Path, Field] = {
    ("stop", "signal"): Field(readers.stop_signal, "TERM", "what programs expect", "asks it to end"),
    ("stop", "grace"): Field(
        amounts.duration(0),
        limits.STOP_GRACE_S,
        "then the whole tree is killed",
        "time after a planned stop's signal",
        "s",
    ),
    ("stop", "hung_grace"): Field(
        amounts.duration(0),
        limits.HUNG_GRACE_S,
        "a hung agent rarely answers the signal",
        "the same when it hangs",
        "s",
    ),
    ("restart", "backoff"): Field(
        amounts.durations(1, 10),
        limits.RESTART_BACKOFF_S,
        "the first restart is free; then the next tier",
        "the delay before each restart",
        "s",
    ),
    ("restart", "window"): Field(
        amounts.duration(1),
        limits.RESTART_WINDOW_S,
        "older failures say nothing about the present cause",
        "failures older than this are forgotten",
        "s",
    ),
    ("restart", "spacing"): Field(
        amounts.duration(0), 0.0, "a recipe may need more", "unplanned starts are at least this far apart", "s"
    ),
    ("restart", "retry"): Field(
        amounts.duration(1, limits.QUIET_TRY_MAX_S),
        limits.QUIET_TRY_FIRST_S,
        "doubles up to one hour",
        "first quiet try after the alert",
        "s",
    ),
    ("restart", "at"): Field(
        blocks.planned_times, (), "no planned restarts", "times such as 04:00 Europe/Berlin or Mon-Fri 04:00"
    ),
    ("restart", "when_idle"): Field(
        blocks.when_idle,
        None,
        "most agents do not say when they are idle",
        "a planned restart waits for an idle agent",
        "s",
    ),
    ("maintenance",): Field(
        blocks.maintenance, Maintenance(), "always on duty", "hands off: on, off, or {windows, length}"
    ),
    ("exit_codes",): Field(readers.exit_meaning, None, "the usual meanings", "its exit codes in words", each=True),
}
_LOGS: dict[Path, Field] = {
    ("logs", "max_size"): Field(
        amounts.size(limits.LOG_FILE_LEAST_BYTES), limits.LOG_FILE_BYTES, "100 MB x 5 is what people keep",
        "of one log file, before it is rotated", "bytes",
    ),
    ("logs", "max_files"): Field(amounts.whole(1, limits.LOG_FILES_MAX), limits.LOG_FILES, "as above", "files kept"),
    ("logs", "max_age"): Field(
        amounts.duration(60, 10 * 365 * 86_400.0), limits.LOG_AGE_S, "older output explains nothing", "then deleted",
        "s",
    ),
    ("logs", "total"): Field(
        amounts.size(limits.LOG_FILE_LEAST_BYTES, none="off"), None, "what size and number of files allow",
        "all of its logs on disk", "bytes",
    ),
    ("logs", "rate"): Field(
        amounts.whole(1, 10_000_000, off="off"), limits.LOG_RATE_LINES_S, "only a loop that prints says more",
        "lines in a second; above it the agent is slowed down, visibly",
    ),
    ("logs", "files"): Field(readers.paths, (), "it prints, as it should", "globs of log files that it writes itself"),
    ("logs", "files_max"): Field(
        amounts.size(limits.LOG_FILE_LEAST_BYTES), limits.LOG_CAPPED_FILES_BYTES, "as one log file of ours",
        "cap of each file that it writes itself", "bytes",
    ),
    ("logs", "ship"): Field(blocks.shipping, (), "nothing leaves the machine", "where its lines are sent as well"),
}  # fmt: skip
_RESOURCES: dict[Path, Field] = {
    ("resources", "memory"): Field(
        blocks.memory_shares, (limits.MEMORY_WARN_SHARE, limits.MEMORY_ALARM_SHARE), "time left to do something",
        "of limits.memory: from the first on a warning, from the second an alarm", "share",
    ),
    ("resources", "cpu"): Field(
        amounts.share(4096.0), limits.CPU_BUSY_SHARE, "a loop that spins uses a whole core", "of one core", "share"
    ),
    ("resources", "cpu_for"): Field(
        amounts.duration(1, 86_400), limits.CPU_BUSY_FOR_S, "work comes in bursts", "so long without a pause", "s"
    ),
    ("resources", "disk"): Field(
        amounts.share(), limits.DISK_FULL_SHARE, "file systems slow down before they are full",
        "of the disks that it writes to", "share",
    ),
    ("resources", "disk_bytes"): Field(
        amounts.size(1_000_000, none="off"), None, "no agent's own share is known", "of its own directories", "bytes"
    ),
    ("resources", "processes"): Field(
        amounts.whole(1, 4_194_304, off="off"), None, "no usual number is known", "processes and threads"
    ),
    ("resources", "descriptors"): Field(
        amounts.share(), limits.DESCRIPTORS_SHARE, "programs fail in odd ways without them",
        "of its limit on open files", "share",
    ),
}  # fmt: skip
_STATE: dict[Path, Field] = {
    ("state", "paths"): Field(
        keeping.state_paths, (), "nothing is known of what it keeps", "files and directories that are kept in versions"
    ),
    ("state", "exclude"): Field(
        keeping.excludes, (), "everything is kept", "patterns of what is left out, such as cache/ or *.tmp"
    ),
    ("state", "every"): Field(
        amounts.duration(1, 7 * 86_400.0, off=True), limits.SNAPSHOT_EVERY_S, "back to any minute",
        "a snapshot this often, when something changed; off: only when asked, and before planned stops", "s",
    ),
    ("state", "store"): Field(
        keeping.store, None, "snapshots stay on this machine",
        "a second place for them: s3://BUCKET/PREFIX, or a directory on another disk",
    ),
    ("state", "store_every"): Field(
        amounts.duration(1, 7 * 86_400.0), limits.SNAPSHOT_STORE_EVERY_S, "as often as snapshots are made",
        "the newest snapshot goes to the second place this often", "s",
    ),
    ("state", "budget"): Field(
        amounts.size(10_000_000), None, "the smaller of 10 GB and a tenth of the disk",
        "of this machine's disk for its snapshots", "bytes",
    ),
    ("state", "encrypt"): Field(
        readers.switch, True, "agents' state holds logins", "whether snapshots are encrypted; fixed with the first one"
    ),
    ("state", "capture"): Field(
        keeping.capture, "guard", "the agent never stands still",
        "guard: each database at one moment; freeze: all files, while it stands still for up to 250 ms",
    ),
}  # fmt: skip
_SHARING: dict[Path, Field] = {
    ("memory", "min"): Field(
        amounts.size(limits.MEMORY_LIMIT_MIN_BYTES, none="none"), None, "nobody is promised memory unasked",
        "memory that it keeps, whatever others need", "bytes",
    ),
    ("memory", "start"): Field(
        amounts.size(limits.MEMORY_LIMIT_MIN_BYTES, none="none"), None,
        "what its starts were seen to take, a fifth more; at first what its recipe knows, or 250 MB",
        "memory that must be free before it is started", "bytes",
    ),
    ("memory", "ask"): Field(
        sharing.ask, None, "no agent is known to give memory back unless it says how",
        "how it is asked to give memory back before somebody has to go: a signal, a URL (POST), or a command",
    ),
    ("idle", "after"): Field(
        amounts.duration(limits.IDLE_AFTER_MIN_S), limits.IDLE_AFTER_S, "people pause for minutes, and come back",
        "with nothing to do for so long it is put to sleep", "s",
    ),
    ("idle", "action"): Field(
        sharing.action, "none", "only its owner knows whether it may sleep",
        "how: freeze (paged out where there is swap, awake in milliseconds), stop (its port is held), or none",
    ),
}  # fmt: skip
FIELDS: dict[Path, Field] = _AGENT | _HEALTH | _LIFE | _LOGS | _RESOURCES | _STATE | _SHARING

# Keys of later versions, with what they will be about.
RESERVED: dict[Path, str] = {
    ("probation",): "probation of changes",
    ("secrets",): "the store of secrets",
    ("llm",): "the LLM gateway",
    ("schedules",): "schedules",
    ("journal",): "durable tasks",
}
GROUPS: frozenset[str] = frozenset(path[0] for path in FIELDS if len(path) == 2)
# What a whole group that is `off` stands for.
SWITCHED_OFF: dict[str, dict[Path, Any]] = {
    "health": {("health", name): None for name in ("http", "beat", "file", "command", "log", "push", "function")},
    "resources": {
        ("resources", "memory"): (limits.SHARE_NEVER, limits.SHARE_NEVER),
        ("resources", "cpu"): limits.SHARE_NEVER,
        ("resources", "disk"): limits.SHARE_NEVER,
        ("resources", "disk_bytes"): None,
        ("resources", "processes"): None,
        ("resources", "descriptors"): limits.SHARE_NEVER,
    },
    "state": {("state", "paths"): ()},
    "idle": {("idle", "action"): "none"},
}
# `depends_on` for all would make each agent wait for itself.
NOT_IN_DEFAULTS: frozenset[str] = frozenset(("template", "replicas", "command", "depends_on"))
NOT_IN_TEMPLATES: frozenset[str] = frozenset(("template", "replicas"))

BUILT_IN: dict[Path, Default] = {
    path: Default(one.default, one.why)
    for path, one in FIELDS.items()
    if not one.each and path[0] not in ("template", "replicas")
}


def later(what: str) -> str:
    """What is expected where a reserved key stands."""
    return f"nothing yet: {what} will come with a later version"
