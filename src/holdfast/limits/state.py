"""Versioned state: snapshots, their keeping, second places and restores."""

# --- versioned state -------------------------------------------------------------------------------------------------
SNAPSHOT_EVERY_S = 60.0  # mission, promise 9: any minute
SNAPSHOT_STORE_EVERY_S = 60.0  # as often as a snapshot is made; hourly is enough where traffic costs
SNAPSHOT_BUDGET_SHARE = 0.10  # of the disk that the home lies on
SNAPSHOT_BUDGET_BYTES = 10 * 1024**3
STATE_PATHS_MAX = 64
STATE_EXCLUDES_MAX = 256

# --- versioned state as asked for ------------------------------------------------------------------------------------
SNAPSHOT_LABEL_MAX = 200  # characters: a sentence, which fits a line of a table
SNAPSHOT_PIN_MAX = 40  # part of a file's name
STATE_PATH_MAX = 4096  # PATH_MAX of Linux
RESTORE_PLAN_S = 15.0  # a person waits for the comparison with the live tree; beyond it, none is shown
STATE_LOST_SHOWN = 8  # paths named before a restore; the counts say the rest

# --- keeping, thinning and deleting snapshots ------------------------------------------------------------------------
RETENTION_ALL_S = 86_400.0  # promised: all of a day
RETENTION_STEPS_S = ((7 * 86_400.0, 3600.0), (30 * 86_400.0, 86_400.0), (365 * 86_400.0, 7 * 86_400.0))  # promised
RETENTION_SLACK_PART = 0.06  # one hour of a day: else days of 24 to 25 hours would add up, and a calendar day be missed
RETENTION_HEALTHY_MIN = 3  # one may be the one with the damage, one the one just before it
BUDGET_STEPS_S = (  # beyond this age one in so many seconds; each step takes more than the one before
    (43_200.0, 600.0),
    (7_200.0, 600.0),
    (7_200.0, 3600.0),
    (3600.0, 3 * 3600.0),
    (0.0, 12 * 3600.0),
    (0.0, 86_400.0),  # one a day always stays
)
BUDGET_ROOM_PART = 0.1  # thinned to so much below the budget, so that it is not done again at once
TRASH_S = 7 * 86_400.0  # promised: a deleted snapshot
TRASH_AGENT_S = 30 * 86_400.0  # promised: a deleted agent
TRASH_THINNED_S = 86_400.0  # of what a rule took: a day to notice a rule gone wrong
TRASH_EARLY_S = 0.0  # taken because space is short: waiting would not help it
GC_WAIT_S = 86_400.0  # longer than any capture or upload that may still count on a pack
GC_SMALL_PACK_BYTES = 1024 * 1024  # a snapshot a minute makes 1,440 packs a day; merged, they are a few
GC_SMALL_PACKS_MIN = 8  # fewer are not worth writing again
GC_SMALL_AGE_S = 3600.0
GC_LIVE_PART_MIN = 0.5  # below it a pack costs more than writing what is live of it again
GC_REPACK_MAX_BYTES = 256 * 1024 * 1024  # read in one run; the rest waits for the next
HISTORY_DIRECTORIES_KEPT = 64  # the way down to one path, in a few versions
DIFF_CHANGES_MAX = 1_000  # paths listed; counts go on
DIFF_TEXT_FILE_MAX_BYTES = 262_144  # comparing lines costs the square of them at worst
DIFF_TEXT_LINES_MAX = 5_000
DIFF_TEXT_SHOWN_MAX_BYTES = 16_384  # of one file
DIFF_TEXT_ALL_MAX_BYTES = 524_288  # of one answer
VERIFY_SAMPLE_PART = 0.01  # of the blobs, read and checked: all of them in a season, at a hundredth of the cost
VERIFY_FAULTS_MAX = 200  # listed; more say nothing new
AGE_REBOOT_MAX_S = 30 * 86_400.0  # counted as passed over one reboot at most; longer is more likely a wrong clock

# --- the worker and when it works ------------------------------------------------------------------------------------
WORKER_JOB_ENDS_S = 5.0  # a job that nobody wants any more puts away what it holds in milliseconds
WORKER_BEGINS_S = 60.0  # a fork takes a millisecond, on a starved machine some seconds
WORKER_STALL_S = 600.0  # a job that says nothing for so long hangs on a disk that does not answer
SNAPSHOT_LEAVES_BYTES = 1024**3  # free on the disk, for the agents: a snapshot ends before it takes that
SNAPSHOT_LEAVES_SHARE = 0.05  # of the disk, where that is less
SNAPSHOT_NICE = 10  # of the timer's snapshots: agents come first
SNAPSHOTS_LONG_AT_ONCE = 2  # of the timer's: each may take 100 MB and a core
SNAPSHOTS_SHORT_AT_ONCE = 2  # of those known to be short: big agents must not hold up the minute of the others
SNAPSHOTS_ASKED_AT_ONCE = 2  # a person's, and those before stops: not behind the timer's
STATE_LOOKS_AT_ONCE = 4  # jobs that only read
SNAPSHOT_SHORT_S = 5.0  # one that took less is expected to be short again
SNAPSHOT_RETRY_FIRST_S = 30.0  # after a failure; doubles
SNAPSHOT_RETRY_MAX_S = 1_800.0
SNAPSHOT_PAUSED_LOOK_S = 5.0  # while the machine is under pressure
SNAPSHOT_PAUSE_SAID_S = 60.0  # a pause as short as a load peak delays nothing that a person would miss
SNAPSHOT_AFTER_END_S = 1.0  # an agent that went down is back by then if it is restarted at once
SNAPSHOT_BEFORE_STOP_S = 20.0  # a stop waits so long at most; most snapshots take a second
SNAPSHOT_BEFORE_REMOVAL_S = 300.0  # somebody waits and sees it; it is the one that undelete needs
SNAPSHOT_BEFORE_DOWN_S = 20.0  # all agents together: systemd gives a shutdown 90 s
REST_ASK_S = 20.0  # OpenClaw's RPC was seen to take 8 s on a loaded machine, 30 ms on an idle one
REST_MAX_S = 15.0  # an agent at rest refuses work meanwhile; a snapshot that takes longer goes on without
REST_END_S = 30.0  # so long the end of a snapshot waits for the agent to be let go
REST_END_TRIES = 3
SNAPSHOT_SAID_AGAIN_S = 3_600.0  # a failure that lasts is recorded once an hour
STATE_UPKEEP_LOOK_S = 15.0  # a quarter of `every`: an upload, a pin begin so late at most
STATE_TIDY_EVERY_S = 3_600.0  # thinning has steps of an hour at least
STATE_CLOSURE_EVERY_S = 3_600.0  # promised: hourly, daily, weekly
STATE_SAMPLE_EVERY_S = 86_400.0
STATE_DRILL_EVERY_S = 7 * 86_400.0
KNOWN_GOOD_EVERY_S = 300.0  # what a restore to known-good loses at most, beside PROVEN_AFTER_S; its proof costs CPU
UPLOAD_JOBS_AT_ONCE = 2  # one line carries them all
STATE_CLEAR_EVERY_S = 86_400.0  # agents removed a month ago; the time that surely passed is counted on the way
STATE_SECOND_GC_EVERY_S = 7 * 86_400.0  # what was deleted here is deleted there at once; this finds what was forgotten
SCRUB_BYTES = 64 * 1024 * 1024  # packs read again each hour, beside new ones: all of 10 GB in a week
PROOF_MAX_BYTES = 256 * 1024 * 1024  # of changed databases checked before a snapshot is known-good: some seconds
PROOF_JSON_MAX_BYTES = 4 * 1024 * 1024  # settings and indexes are smaller; larger files are data
PROOF_JSON_FILES_MAX = 2_000
SNAPSHOTS_REMEMBERED = 64  # of each agent, with the time they were made, for known-good

# --- the second place of snapshots -----------------------------------------------------------------------------------
STORE_CONNECT_S = 5.0  # a server that is there answers within one round trip
STORE_READ_S = 120.0  # a whole pack (8 MiB) over 1 Mbit/s, with as much again to spare
STORE_WRITE_S = 600.0  # a whole pack over 128 kbit/s; slower lines send nothing in the end and say so
STORE_RETRIES = 3  # within one request; what fails after them waits in the queue
STORE_RETRY_FIRST_S = 0.2
STORE_RETRY_LONGEST_S = 5.0
STORE_RETRY_ALL_S = 20.0
STORE_MULTIPART_BYTES = 64 * 1024 * 1024  # eight times a usual pack; one request for more would start over too often
STORE_PART_BYTES = 8 * 1024 * 1024
UPLOADS_AT_ONCE = 3  # three packs in memory; over long lines three fill what one leaves empty
UPLOAD_LOOK_EVERY_S = 86_400.0  # what is really there is listed again this often: somebody may have deleted
UPLOAD_AGAIN_FIRST_S = 30.0  # after a failure; doubled with each
UPLOAD_AGAIN_LONGEST_S = 900.0  # a repaired server or line is noticed within a quarter of an hour
REMOTE_LAG_ALERT_S = 1_800.0  # beyond `state.store_every`: longer than a restart of a server, shorter than the hour

# --- restoring -------------------------------------------------------------------------------------------------------
RESTORE_SYNCED_SINGLY = 32  # files: beyond it one sync of the whole file system is cheaper than one for each
RESTORE_NOTES_MAX = 20  # sentences about what could not be restored as it was
RESTORE_BATCH_BYTES = 4 * 1024 * 1024  # read, then written as the agent's user: a switch of rights costs 10 µs
RESTORE_BATCH_PARTS = 512
RESTORE_MARGIN_BYTES = 64 * 1024 * 1024  # left free beside what is restored: the agent itself goes on writing
RESTORE_NAME_BYTES = 4096  # a block for each file, on average more than a file's last block leaves empty
VALIDATE_MAX_S = 120.0  # quick_check reads a database of 5 GB in less; what takes longer is not known to be damaged
VALIDATE_ANSWER_MAX_BYTES = 64 * 1024 * 1024  # two lines for each file checked
VALIDATE_JSON_MAX_BYTES = 64 * 1024 * 1024  # as a program reads it: whole
VALIDATE_TEXT_MAX_BYTES = 4 * 1024 * 1024  # of settings that a person writes, and of JSON of an unknown kind
VALIDATE_FILES_MAX = 100_000  # a start waits for it: some seconds; what is beyond is named as not looked at
VALIDATE_REASON_MAX = 300  # characters

# --- databases that are written while they are kept ------------------------------------------------------------------
GUARD_WAIT_S = 0.3  # for a busy database; a commit takes milliseconds, and what lasts longer may last for ever
GUARD_SLACK_S = 1.0  # to start the helper on a loaded machine
GUARD_HOLD_MAX_S = 900.0  # 20 GB at the speed of a disk; held for ever, a write-ahead log would grow for ever
GUARD_COPY_MAX_S = 2.0  # writers of a rollback-journal database wait so long; their own patience is commonly 5 s
SPOOL_MEMORY_MAX_BYTES = 8 * 1024 * 1024  # a tenth of what a snapshot may take
SPOOL_DISK_SHARE = 0.5  # of what is free, for a copy that lasts as long as the snapshot
FREEZE_MAX_S = 0.25  # promised: the longest pause of an agent
FREEZE_HOLD_S = FREEZE_MAX_S - 0.03  # leaves the watcher time to be scheduled
FREEZE_REACH_S = 0.1  # a process in the middle of a disk request stands still after it
DAMAGED_KEPT_S = 7 * 86_400.0  # a damaged object that was replaced: long enough to ask what damaged it
FREEZE_SHELF_BYTES = 32 * 1024 * 1024  # changed contents held until it goes on: what can be hashed in time
FREEZE_WATCHER_WAIT_S = 1.0  # to start it, before the pause; to collect it, after

# --- what a snapshot reads -------------------------------------------------------------------------------------------
SNAPSHOT_FILE_TRIES = 3  # readings of a file that changes under each of them; then it is flagged
SNAPSHOT_REREAD_BYTES = 256 * 1024 * 1024  # larger files are read twice at most: a log that always grows costs enough
SNAPSHOT_DEPTH_MAX = 256  # directories in each other, each held open; a path of the kernel's own length has 2,048
SNAPSHOT_LISTED_MAX = 100  # paths that a manifest lists as fuzzy, and as left out; who repairs needs to see the first

# --- a restore from its stop to its end ------------------------------------------------------------------------------
RESTORE_HALT_S = 30.0  # beyond the agent's grace: init may be replaced meanwhile, and sweeps what will not go
SNAPSHOT_WHILE_DOWN_S = 1.0  # of what an agent wrote while its restore was built: it is down; then its old trees stay
RESTORE_LOOK_S = 1.0  # how often an agent on a restored state is looked at while it has to prove itself
RESTORE_DEATHS_MAX = 2  # of an agent on a restored state before it proved itself; then the former state returns
RESTORE_RECOVER_TRIES = 5  # a second apart: a worker that was killed, a disk that was full for a moment
RESTORE_ANSWER_S = 10.0  # a person is told how the agent is after its restore; agents that start longer are "starting"
RESTORE_CHOICES_MAX = 5  # snapshots tried by tier 3: each is built whole and looked at, while the agent is down
DAMAGED_TREE_KEPT_S = 7 * 86_400.0  # what tier 3 replaced: time for a person to come back from holiday and look at it
DAMAGED_TREE_LOOK_S = 3_600.0  # how often it is looked whether that time is over, or the disk budget short
STATE_CHECK_MAX_S = 60.0  # after a death before the gate; most states are looked through in a second
STATE_CHECK_LIVED_S = 5.0  # an agent without a gate that died so young did not get through its start
