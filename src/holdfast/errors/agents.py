"""Agents: HF2xxx."""

from holdfast.errors.catalogue import entry as _kind

AGENT_NOT_FOUND = _kind(
    "HF2001",
    "AgentNotFound",
    "there is no agent {agent}",
    "List them with `holdfast ps`.",
    4,
)
COMMAND_NOT_FOUND = _kind(
    "HF2002",
    "AgentCommandNotFound",
    "{agent}: the command {command} does not exist or is not executable",
    "Correct `command` or `working_dir` in holdfast.yaml, then `holdfast up`. Holdfast keeps trying quietly.",
)
USER_UNAVAILABLE = _kind(
    "HF2003",
    "AgentUserUnavailable",
    "{agent}: cannot run as user {user}: {reason}",
    "Create the user, correct `user:`, or start Holdfast as root.",
)
PLACE_UNREACHABLE = _kind(
    "HF2004",
    "AgentPlaceUnreachable",
    "{agent}: user {user} cannot reach {path}",
    "Move it to a directory that user may enter, or set `user:` to the owner of it.",
)
SPAWN_FAILED = _kind(
    "HF2005",
    "AgentSpawnFailed",
    "{agent}: could not be started: {reason}",
    "See `holdfast describe {agent}`. Holdfast keeps trying.",
)
AGENT_ESCALATED = _kind(
    "HF2010",
    "AgentEscalated",
    "{agent} could not be healed: {cause}",
    "Read the post-mortem with `holdfast incidents show {incident}`; Holdfast goes on trying quietly.",
    6,
)
INCIDENT_NOT_FOUND = _kind(
    "HF2011",
    "IncidentNotFound",
    "there is no incident {incident}",
    "List them with `holdfast incidents`; all that happened to an agent: `holdfast events --agent NAME`.",
    4,
)
WAIT_TIMED_OUT = _kind(
    "HF2012",
    "WaitTimedOut",
    "after {timeout_s} s not healthy yet: {agents}",
    "See why with `holdfast ps`; they are still being worked on.",
    3,
)
PORT_TAKEN = _kind(
    "HF2013",
    "AgentPortTaken",
    "{agent}: port {port} is held by process {pid} ({process}), not by the agent",
    "Stop that process or give the agent another port.",
)
NO_AGENT_MATCHES = _kind(
    "HF2014",
    "NoAgentMatches",
    "no agent has labels {selector}; nothing was done",
    "See the labels with `holdfast ps -o wide`.",
    4,
)
ROLLING_STOPPED = _kind(
    "HF2015",
    "RollingStopped",
    "{agent} did not come back: {why}; {done} of {total} restarted, not touched: {left}",
    "See `holdfast describe {agent}`; when it is well again, run the same command for the rest.",
    3,
)
PUSH_NOT_DECLARED = _kind(
    "HF2020",
    "PushNotDeclared",
    "{agent} declares no pushes, so it has no URL",
    "Give it `push` with `every: 5m` below `health` in holdfast.yaml, then `holdfast up`.",
    2,
)
QUEUE_NOT_FOUND = _kind(
    "HF2021",
    "QueueNotFound",
    "no agent {group} follows a queue",
    "List those that do with `holdfast queue`; give one `replicas` with `min`, `max` and `per_queue_depth`.",
    4,
)
SLEEP_REFUSED = _kind(
    "HF2022",
    "SleepRefused",
    "{agent} cannot be put to sleep: {reason}",
    "See how it is with `holdfast describe {agent}`; only an agent that is healthy can sleep.",
)
ADOPTION_UNFINISHED = _kind(
    "HF2040",
    "AdoptionUnfinished",
    "the adoption of {agent} was interrupted while {step}",
    "Finish it with `holdfast adopt --resume`, or go back with `holdfast adopt --undo`.",
)
ADOPTION_REFUSED = _kind(
    "HF2041",
    "AdoptionRefused",
    "{what}: {reason}",
    "Remove that reason and repeat the command; `holdfast adopt KIND --dry-run` shows what would be done.",
)
ADOPTION_FAILED = _kind(
    "HF2042",
    "AdoptionFailed",
    "{agent} was not adopted, the step `{step}` failed: {reason}; the former way runs again",
    "Remove that reason, then `holdfast adopt` once more.",
)
ADOPTION_STUCK = _kind(
    "HF2043",
    "AdoptionStuck",
    "{agent} could not be given back, failed while {step}: {reason}",
    "Remove that reason, then `holdfast adopt --undo`, which goes on where it stopped.",
    6,
)
ADOPTION_NOT_FOUND = _kind(
    "HF2044",
    "NothingToAdopt",
    "{what}",
    "Run it as the owner of the installation or as root; name its state directory with --state.",
    4,
)
SNAPSHOT_NOT_FOUND = _kind(
    "HF2050",
    "SnapshotNotFound",
    "{agent} has no snapshot {snapshot}",
    "List them with `holdfast snapshots {agent}`; those deleted with `holdfast snapshots {agent} --deleted`.",
    4,
)
SNAPSHOT_AMBIGUOUS = _kind(
    "HF2051",
    "SnapshotAmbiguous",
    "{agent}: {count} snapshots begin with {snapshot}: {listed}",
    "Give more digits; `holdfast snapshots {agent}` lists them.",
    2,
)
NO_SNAPSHOTS = _kind(
    "HF2052",
    "NoSnapshots",
    "{agent} has no snapshots",
    "Make one with `holdfast snapshot {agent}`. It needs `state` with `paths` in holdfast.yaml.",
    4,
)
STATE_NOT_DECLARED = _kind(
    "HF2053",
    "StateNotDeclared",
    "{agent} declares no state, so there is nothing to take a snapshot of",
    "Give it `state` with `paths: [DIR]` in holdfast.yaml, then `holdfast up`.",
    2,
)
STATE_PATH_NOT_FOUND = _kind(
    "HF2054",
    "StatePathNotFound",
    "{agent}: {path} is in no snapshot that was asked for",
    "See what a snapshot holds with `holdfast state export {agent} SNAPSHOT | tar -t`, or look at all of it with "
    "`holdfast restore {agent} --to NEW_DIRECTORY`.",
    4,
)
NOT_DELETED = _kind(
    "HF2055",
    "NotDeleted",
    "{what} is not among what was deleted",
    "See deleted agents with `holdfast undelete`, deleted snapshots with `holdfast snapshots AGENT --deleted`.",
    4,
)
STATE_FAILED = _kind(
    "HF2056",
    "StateJobFailed",
    "{agent}: {what} failed: {reason}",
    "Snapshots made before are untouched. See `holdfast state verify {agent}` and `holdfast events --agent {agent}`.",
)
STATE_CUT_SHORT = _kind(
    "HF2057",
    "StateCutShort",
    "{agent}: what was being read ended too early: {reason}",
    "What arrived is incomplete, do not use it. Run `holdfast state verify {agent}`, then the same command again.",
)
STATE_DAMAGED = _kind(
    "HF2058",
    "StateDamaged",
    "{agent}: {what} met damage: {reason}",
    "See what can be restored whole with `holdfast state verify {agent}`; other snapshots may not be affected.",
)
