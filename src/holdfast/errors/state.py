"""Versioned state: HF6xxx."""

from holdfast.errors.catalogue import entry as _kind

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
    "Name a directory that does not exist yet, or an empty one, outside the agent's state and Holdfast's home. "
    "Nothing was changed.",
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
