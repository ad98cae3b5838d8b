"""Numbered errors: each says what happened, what Holdfast did, and what to do next.

The same code appears in logs, events, the API, `holdfast explain` and the runbooks. Codes are never reused.
HF1xxx the file a user wrote · HF2xxx agents · HF3xxx Holdfast's own processes · HF4xxx the machine ·
HF5xxx alerts · HF6xxx versioned state.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One entry of the catalogue. `summary` may hold {placeholders}; `next_step` is a command or an act."""

    code: str
    name: str
    summary: str
    next_step: str
    exit_code: int = 1


class HoldfastError(Exception):
    """The one exception users meet. `detail` fills the kind's placeholders."""

    def __init__(self, kind: ErrorKind, **detail: object) -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(self.summary)

    @property
    def summary(self) -> str:
        return self.kind.summary.format_map(_Blanks(self.detail))

    @property
    def next_step(self) -> str:
        return self.kind.next_step.format_map(_Blanks(self.detail))

    @property
    def exit_code(self) -> int:
        return self.kind.exit_code

    def as_dict(self) -> dict[str, str]:
        """The shape used by the API and by --json: code, name, message, next."""
        return {
            "code": self.kind.code,
            "name": self.kind.name,
            "message": self.summary,
            "next": self.next_step,
        }


class _Blanks(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return f"<{key}>"


CATALOGUE: dict[str, ErrorKind] = {}


def _kind(code: str, name: str, summary: str, next_step: str, exit_code: int = 1) -> ErrorKind:
    entry = ErrorKind(code, name, summary, next_step, exit_code)
    if code in CATALOGUE:
        raise AssertionError(f"error code {code} is given twice")
    CATALOGUE[code] = entry
    return entry


# --- HF1xxx: what a user wrote -------------------------------------------------------------------------------
SPEC_INVALID = _kind(
    "HF1001",
    "SpecInvalid",
    "{file} has {count} error(s):\n{problems}",
    "Correct the lines named, then run `holdfast check -f {file}`. Nothing was changed.",
    2,
)
SPEC_NOT_FOUND = _kind(
    "HF1002",
    "SpecNotFound",
    "there is no file {file}",
    "Name another with -f FILE, or write one: see examples/fleet.yaml.",
    2,
)
SPEC_UNREADABLE = _kind(
    "HF1003",
    "SpecUnreadable",
    "{file} cannot be read: {reason}",
    "Check its permissions; it must be a UTF-8 text file of at most 1 MiB.",
    2,
)
UNKNOWN_ERROR_CODE = _kind(
    "HF1010",
    "UnknownErrorCode",
    "there is no error {code}",
    "List them all with `holdfast explain`.",
    4,
)
USAGE = _kind("HF1011", "Usage", "{reason}", "See `{command} --help`.", 2)

# --- HF2xxx: agents ------------------------------------------------------------------------------------------
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

# --- HF3xxx: Holdfast's own processes ------------------------------------------------------------------------
KEEPER_UNREACHABLE = _kind(
    "HF3001",
    "KeeperUnreachable",
    "no keeper answers in {home}",
    "Start it with `holdfast up`. Agents that run are not affected.",
    5,
)
ALREADY_OWNED = _kind(
    "HF3002",
    "HomeAlreadyOwned",
    "another Holdfast (guard pid {pid}) owns {home}",
    "Talk to it with `holdfast --home {home} ps`, or choose another --home.",
)
KEEPER_RUNS_ALREADY = _kind(
    "HF3003",
    "KeeperRunsAlready",
    "a keeper (pid {pid}) already works in {home}",
    "Nothing to do: the second one has left.",
)
STORE_CORRUPT = _kind(
    "HF3004",
    "StoreCorrupt",
    "the keeper's database was damaged ({reason}); it was set aside as {aside}",
    "Nothing to do: it was rebuilt from the ledger. Keep the file if you want to know why; check the disk.",
)
LEDGER_BROKEN = _kind(
    "HF3005",
    "LedgerBroken",
    "the ledger does not verify at record {seq}: {reason}",
    "Treat records after it as untrusted; see docs/runbooks/HF3005.md.",
    6,
)
DAEMON_DID_NOT_START = _kind(
    "HF3006",
    "DaemonDidNotStart",
    "Holdfast did not come up within {timeout_s} s",
    "Read {log} and run `holdfast doctor`.",
)
HOME_UNUSABLE = _kind(
    "HF3007",
    "HomeUnusable",
    "{home} cannot be used: {reason}",
    "Choose another with --home DIR or HOLDFAST_HOME, or correct its owner and permissions.",
)
API_REFUSED = _kind(
    "HF3008",
    "RequestRefused",
    "{reason}",
    "Put right what the message names, then say it again. Nothing was changed; `holdfast COMMAND --help` tells more.",
    2,
)
KEEPER_FAILED = _kind(
    "HF3009",
    "KeeperFailed",
    "the keeper could not carry this out: {reason}",
    "See {home}/log/keeper.log; agents are not affected.",
)
LEDGER_IN_USE = _kind(
    "HF3010",
    "LedgerInUse",
    "another process writes the ledger in {path}",
    "Only one keeper may write it: see `holdfast ps`. Reading and verifying work at any time.",
)
ANSWER_CUT_OFF = _kind(
    "HF3011",
    "AnswerCutOff",
    "the keeper ended before it could say whether this is done: {what}",
    "It is started again by itself, and finishes or undoes what was begun: never half of it stays. `holdfast ps` and "
    "`holdfast events --since 5m` tell which; say it again if it was not done.",
    5,
)

COMMAND_FAILED = _kind(
    "HF3020",
    "CommandFailed",
    "this command failed in a way nobody foresaw ({reason}); the report is in {path}",
    "Agents are not affected. Please send that file to the authors.",
)
OUTPUT_FAILED = _kind(
    "HF3022",
    "OutputFailed",
    "the output could not be written: {reason}",
    "Make room where it goes to, or send it elsewhere. What the command did besides is done.",
)
NOT_ALL_STOPPED = _kind(
    "HF3021",
    "NotAllStopped",
    "after {timeout_s} s still there: {left}",
    "Run `holdfast down` again with a longer --timeout; see `holdfast ps` for what each one waits for.",
)
SERVICE_UNAVAILABLE = _kind(
    "HF3040",
    "ServiceUnavailable",
    "Holdfast cannot be made a service here: {reason}",
    "Use `holdfast service install --cron`, or let your own service manager run `holdfast --home {home} service run`.",
)
SERVICE_FAILED = _kind(
    "HF3041",
    "ServiceToolFailed",
    "{program} could not do it: {reason}",
    "Do what it says, or run it by hand to see more. Agents are not affected; repeating the command is safe.",
)
RENEW_FAILED = _kind(
    "HF3042",
    "RenewFailed",
    "the running Holdfast did not take the installed code: {reason}",
    "Agents are not affected. See {home}/log, then run `holdfast service reload` again.",
)


DRILL_FAILED = _kind(
    "HF3050",
    "DrillNotPossible",
    "the drill cannot take place: {reason}",
    "See `holdfast drill --help`.",
)
UPGRADE_FAILED = _kind(
    "HF3060",
    "UpgradeFailed",
    "the upgrade to {release} did not take place: {reason}; {former} runs on",
    "Agents are not affected. Remove that reason, then `holdfast upgrade` again.",
)
UPGRADE_ELSEWHERE = _kind(
    "HF3061",
    "UpgradeElsewhere",
    "this Holdfast comes from {tool}, which has to fetch the newer one",
    "Run `{command}`, then `holdfast upgrade --activate`: agents are not touched.",
)
UPGRADE_STUCK = _kind(
    "HF3062",
    "UpgradeStuck",
    "neither {release} nor {former} could be made to run: {reason}",
    "Agents run on. Read {home}/log, then `holdfast upgrade --rollback`, which tries again.",
    6,
)
NEWEST_UNKNOWN = _kind(
    "HF3063",
    "NewestUnknown",
    "what the newest Holdfast is cannot be told: {reason}",
    "Look at the network and at pip's own configuration (`pip config list`). Nothing was changed.",
)

# --- HF4xxx: the machine -------------------------------------------------------------------------------------
DISK_FULL = _kind(
    "HF4001",
    "DiskFull",
    "the disk holding {path} is full; {what} is paused",
    "Free space there. Healing goes on; what was not written is counted in `holdfast doctor`.",
)
NO_CGROUPS = _kind(
    "HF4002",
    "NoCgroups",
    "no cgroup is delegated to this user: memory, cpu and process limits do not hold",
    "Start as root, or where systemd runs: `loginctl enable-linger`, then `holdfast up` again.",
)
LIMIT_NOT_HELD = _kind(
    "HF4003",
    "LimitNotHeld",
    "{agent}: limit {limit} cannot be enforced here ({reason})",
    "See `holdfast doctor` for what this machine can hold.",
)

MEMORY_NEAR_LIMIT = _kind(
    "HF4010",
    "MemoryNearLimit",
    "{agent}: {detail}",
    "See its curve with `holdfast describe {agent}`; raise `limits.memory`, or plan `restart.at`. Nothing was done.",
)
DISK_NEARLY_FULL = _kind(
    "HF4011",
    "DiskNearlyFull",
    "{detail}",
    "Free space there, or move what fills it: `du -xh {path} | sort -h | tail`. Nothing was stopped.",
)
NODE_TROUBLE = _kind(
    "HF4012",
    "NodeTrouble",
    "{cause}; {count} agent(s) are held back from healing because of it: {agents}",
    "Remove the cause on this machine; see `holdfast incidents show {incident}`. Nobody is restarted meanwhile.",
)

NODE_TOO_SMALL = _kind(
    "HF4020",
    "NodeTooSmall",
    "there is no memory for agents: {detail}",
    "Give it more (`memory` under `node`, or the limit of the memory cgroup), or a smaller `reserve` there.",
)
MINIMUMS_TOO_LARGE = _kind(
    "HF4021",
    "MinimumsTooLarge",
    "{detail}; not kept for {agents}",
    "Lower `memory.min`, or move agents to another machine. More important agents keep theirs.",
)
AGENT_TOO_LARGE = _kind(
    "HF4022",
    "AgentTooLarge",
    "{agent} cannot be started here: {detail}",
    "Give the node more memory, or correct `memory.start` and `memory.min` of {agent}. Others are started meanwhile.",
)
AGENTS_SHED = _kind(
    "HF4023",
    "AgentsShed",
    "{count} agent(s) went for the memory of more important ones: {agents}",
    "They come back by themselves when there is room; see `holdfast events --kind density.shed`.",
)
STARTS_HELD = _kind(
    "HF4024",
    "StartsHeld",
    "{count} start(s) are held back; first {agent}: {reason}",
    "See `holdfast top` for the queue. They begin by themselves when the reason is gone.",
)
NOISY_NEIGHBOUR = _kind(
    "HF4030",
    "NoisyNeighbour",
    "agents suffer on this machine: {detail}",
    "Move it elsewhere, limit it, or give agents more `priority` and it less; see `holdfast top`.",
)

# --- HF5xxx: alerts ------------------------------------------------------------------------------------------
ALERT_UNTESTED = _kind(
    "HF5001",
    "AlertUntested",
    "no test alert has got through yet: nobody would be told",
    "Set `alerts:` in holdfast.yaml and run `holdfast alert test`.",
)
ALERT_FAILED = _kind(
    "HF5002",
    "AlertFailed",
    "an alert through {channel} did not get through: {reason}",
    "Correct `alerts:` in holdfast.yaml and run `holdfast alert test`.",
)

# --- HF6xxx: versioned state ---------------------------------------------------------------------------------
RECOVERY_KEY_WRONG = _kind(
    "HF6002",
    "RecoveryKeyWrong",
    "the snapshots of {agent} in {where} were made with another recovery key",
    "Give the key of the machine that made them: `holdfast state key` printed it there.",
)
RECOVERY_KEY_UNUSABLE = _kind(
    "HF6003",
    "RecoveryKeyUnusable",
    "the recovery key in {where} cannot be used: {reason}",
    "Put back the key that `holdfast state key` printed, 64 hex digits. Without it encrypted snapshots cannot be read.",
    6,
)
STATE_FORMAT_NEWER = _kind(
    "HF6004",
    "StateFormatNewer",
    "the snapshots in {where} have format {format}, this Holdfast knows formats up to {known}",
    "Upgrade Holdfast here with `holdfast upgrade`. Nothing was changed.",
)
STATE_IN_USE = _kind(
    "HF6005",
    "StateInUse",
    "somebody else writes snapshots in {where}: {reason}",
    "Wait until that is done; see `holdfast ps`. No snapshot was lost.",
)
RESTORE_UNDER_WAY = _kind(
    "HF6020",
    "RestoreUnderWay",
    "{agent}: another restore, of snapshot {snapshot}, is not over yet",
    "Wait until {agent} is healthy, or say `holdfast restore {agent}` again later. Nothing was changed.",
)
RESTORE_NO_SPACE = _kind(
    "HF6021",
    "RestoreNoSpace",
    "no room to restore beside {path}: {needed} needed, {free} free",
    "Free space there, or restore one path with --path. Live files were not touched.",
)
RESTORE_TARGET = _kind(
    "HF6022",
    "RestoreTarget",
    "cannot restore to {path}: {reason}",
    "Name a directory that does not exist yet, or an empty one. Nothing was changed.",
    2,
)
RESTORE_NOT_THERE = _kind(
    "HF6023",
    "RestorePathNotThere",
    "snapshot {snapshot} has no {path}",
    "See in which snapshots it is: `holdfast state log {agent} {path}`.",
    4,
)
RESTORE_FAILED = _kind(
    "HF6024",
    "RestoreFailed",
    "{agent}: the restore did not take place: {reason}",
    "Live files are as they were. Remove that reason, then restore again.",
)
RESTORE_STUCK = _kind(
    "HF6025",
    "RestoreStuck",
    "a restore can be neither finished nor undone ({path}): {reason}",
    "Remove that reason; the next start of Holdfast goes on with it. No file was deleted: old ones lie beside the new.",
    6,
)
REMOTE_LAG = _kind(
    "HF6030",
    "RemoteLag",
    "{agent}: {detail}",
    "Nothing is lost: the snapshots are here, and it is tried again by itself. Put right what the message says; "
    "`holdfast snapshots {agent}` shows what is not there yet.",
)
SECOND_PLACE_FAILED = _kind(
    "HF6031",
    "SecondPlaceFailed",
    "the second place {where} cannot be used: {reason}",
    "Put that right, then say it again. Nothing was changed there or here.",
)
SECOND_PLACE_OTHER = _kind(
    "HF6032",
    "SecondPlaceOther",
    "{path} holds snapshots of another {agent}, made on this machine",
    "Look at those of the second place with `--to NEW_DIRECTORY`; or add --yes: those of this machine are set aside.",
    2,
)
SECOND_PLACE_KEY = _kind(
    "HF6034",
    "SecondPlaceKey",
    "{home} keeps snapshots under a recovery key of its own, and {agent} came with another",
    "One home has one key: use another home (`holdfast --home DIR restore`), or only look with `--to NEW_DIRECTORY`.",
    2,
)
SECOND_PLACE_BLOCKED = _kind(
    "HF6035",
    "SecondPlaceBlocked",
    "{agent}: {path} is not empty, and no Holdfast is running that would keep what is there",
    "Run `holdfast up` with the agent in holdfast.yaml, then say it again; or write it elsewhere with --to DIR.",
    2,
)
SECOND_PLACE_EMPTY = _kind(
    "HF6033",
    "SecondPlaceEmpty",
    "{where} holds no snapshots of {what}",
    "See what is there: `holdfast restore --from URL` without an agent. The prefix may be another one.",
    4,
)
SNAPSHOT_FAILED = _kind(
    "HF6040",
    "SnapshotFailed",
    "{agent}: its last snapshot could not be made: {reason}",
    "Put that right; it is tried again by itself. Those made before: `holdfast snapshots {agent}`.",
)
SNAPSHOTS_PAUSED = _kind(
    "HF6041",
    "SnapshotsPaused",
    "no snapshots are made by the clock at present: {reason}",
    "They go on by themselves. `holdfast snapshot AGENT` makes one nevertheless; see `holdfast doctor`.",
)
ONLY_COPY = _kind(
    "HF6042",
    "OnlyCopyOnSameDisk",
    "every copy of the snapshots of {agents} lies on the same disk as the agent's files",
    "Give it a second place with one line below `agents: {agent}: state:` in holdfast.yaml, then `holdfast up`: "
    "`store: /DIRECTORY/ON/ANOTHER/DISK` or `store: s3://BUCKET/PREFIX`.",
)
SNAPSHOTS_THINNED = _kind(
    "HF6043",
    "SnapshotsThinned",
    "{agent}: {detail}",
    "See what they cost with `holdfast state du {agent}`.",
)
