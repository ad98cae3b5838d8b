"""Every bound and default, once, each with its reason. Units are in the names."""

from __future__ import annotations

# --- the ladder (design: "The ladder, in numbers") -----------------------------------------------------------
RESTART_BACKOFF_S = (0.0, 10.0, 60.0)  # the first restart is free; three failures climb one tier
RESTART_WINDOW_S = 900.0  # failures older than 15 min say nothing about the present cause
QUIET_TRY_FIRST_S = 300.0  # after the alert: often enough to recover alone, rare enough to burn nothing
QUIET_TRY_MAX_S = 3600.0
CONFIRM_S = 60.0  # good for this long after the gate = recovered
STOP_GRACE_S = 30.0
HUNG_GRACE_S = 5.0  # a hung agent rarely answers TERM; evidence is taken before

# --- probes --------------------------------------------------------------------------------------------------
PROBE_INTERVAL_S = 2.0  # mission, promise 2
PROBE_TIMEOUT_S = 0.5
PROBE_STRIKES = 3
PROBE_BODY_MAX_BYTES = 65_536  # a health body is small; more is another server's page
START_PERIOD_S = 30.0
PROBE_HEAD_MAX_BYTES = 16_384  # as nginx and most servers bound it
PROBE_AGE_SLACK_S = 2.0  # a server's own clock of its age is rounded and starts a little before or after ours
PROBE_SLOT_S = 0.05  # due times fall on this grid: one wake-up serves all agents of a slot
PROBE_OWN_LAG_S = 0.1  # our loop later than this: silence proves nothing about the agent
PROBE_CONNECTION_USES = 30  # then a fresh connection, which proves that the agent still accepts
GATE_INTERVAL_S = 0.5  # a starting agent is asked this often, so that its recovery is seen at once
GATE_LOOK_S = 1.0  # how often the CPU of a starting agent is looked at
GATE_PROGRESS_SHARE = 0.05  # of a core: less than this is waiting, not starting
START_STRETCH_MAX = 10.0  # a start under load may take this many times its start period, never longer

# --- the host's pressure: shares of time in which tasks stall ---------------------------
PRESSURE_STEP_S = 0.5
PRESSURE_ENTER = {"cpu": 0.7, "memory": 0.2, "io": 0.5}  # cpu 0.7: about three tasks for each core
PRESSURE_LEAVE = {"cpu": 0.5, "memory": 0.05, "io": 0.25}
PRESSURE_CALM_S = 3.0  # calm for this long before silence counts against agents again

# --- holdfast.yaml -------------------------------------------------------------------------------------------
SPEC_MAX_BYTES = 1_048_576  # a spec is written by hand; more is a wrong file
SPEC_MAX_ALIASES_EXPANDED = 10_000  # stops YAML alias bombs
AGENT_NAME_MAX = 63  # a DNS label, so that the same name works on Kubernetes
AGENTS_MAX = 5_000
SPEC_MAX_DEPTH = 32  # the deepest legal key is at depth 6; more is a wrong or hostile file
SPEC_PROBLEMS_SHOWN = 100  # a wrong file gives one problem a line; nobody reads more
ENV_FILE_MAX_BYTES = 1_048_576
ARGUMENT_MAX_BYTES = 131_071  # the kernel's MAX_ARG_STRLEN less its NUL: longer ones fail at exec
DURATION_MAX_S = 30 * 86_400.0  # longer is a slip of the unit
MEMORY_LIMIT_MIN_BYTES = 1_000_000  # less cannot start a process: a forgotten unit
PRIORITY_DEFAULT = 50
PRIORITY_MAX = 1_000

# --- logs ----------------------------------------------------------------------------------------------------
LOG_FILE_BYTES = 100 * 1024 * 1024  # mission, promise 17: 100 MB x 5
LOG_FILES = 5
LOG_LINE_SHOWN_MAX_BYTES = 65_536  # a longer line is stored whole and shown cut
POSTMORTEM_LOG_LINES = 50

# --- ledger --------------------------------------------------------------------------------------------------
LEDGER_SEGMENT_BYTES = 16 * 1024 * 1024
LEDGER_RESERVE_BYTES = 1024 * 1024  # preallocated ahead, so that a full disk never stops healing
LEDGER_RECORD_MAX_BYTES = 1024 * 1024

# --- Holdfast's own processes --------------------------------------------------------------------------------
SOCKET_PATH_MAX_BYTES = 107  # sun_path less its NUL
API_BODY_MAX_BYTES = 8 * 1024 * 1024
KEEPER_YOUNG_S = 60.0  # an unexpected error makes an older keeper start over, and not more often than this
START_LIGHT_CPU_S = 1.0  # an agent whose start was seen to cost less skips the queue of start slots
ALERT_TIMEOUT_S = 10.0

# --- keeper and init -----------------------------------------------------------------------------------------
BEAT_INTERVAL_S = 2.0  # mutual beats: the only periodic wake-up of a fleet at process level
INIT_ANSWER_TIMEOUT_S = 5.0  # hello with thousands of agents is one line of some MB
INIT_SILENT_S = 10.0  # five beats unanswered: connect again
INIT_RECONNECT_S = 0.02  # first pause; grows with the absence
INIT_RECONNECT_MAX_S = 0.5
INIT_ABSENT_S = 0.3  # guard brings init back within this; longer and with guard's lock free, both are dead
STORE_FLUSH_S = 0.5  # the ledger is the truth, the database a checkpoint: writes are gathered this long
STORE_RETRY_S = 5.0  # after a full or read-only disk
DEATHS_KEPT = 5

# --- incidents and alerts ------------------------------------------------------------------------------------
INCIDENTS_KEPT = 1_000  # newest; more would fill the disk of a fleet that flaps for months
TIMELINE_MAX = 200  # entries of one incident; the ledger has the rest
ALERT_RETRY_FIRST_S = 10.0
ALERT_RETRY_MAX_S = 3600.0
ALERT_KEPT_S = 7 * 86_400.0  # an alert a week old tells nobody anything
ALERTS_WAITING_MAX = 1_000

# --- the ladder's patience -----------------------------------------------------------------------------------
RESTART_JITTER = 0.1  # spreads a fleet that fell together; delays only grow by it, so spacing holds
PERMIT_SLACK_S = 5.0  # init restarts by its permit; this long after the expected time the keeper does it
ACT_PATIENCE_S = 10.0  # an act without an echo is sent again; all acts are fenced, so twice does no harm
RECREATE_PATIENCE_S = 60.0  # a new pod means directories and cgroups, on a disk that may be slow
QUEUE_ASK_S = 30.0  # a queued agent asks for its start slot again

# --- the API -------------------------------------------------------------------------------------------------
API_KEEP_ALIVE_S = 5
API_CONNECTIONS_MAX = 256  # followers of events and logs included; one more is told to come back
API_HELD_BACK_S = 1.0  # after a start, until the world was compared; longer only when init is away
API_WAIT_MAX_S = 120.0  # longest {"wait": true}
STREAM_SIGN_OF_LIFE_S = 15.0
LOG_LINES_MAX = 1_000_000  # of one answer
EVENTS_LAST_MAX = 100_000  # records counted from the end are held in memory until they are sent

# --- start slots ---------------------------------------------------------------------------------------------
SLOT_CPU_S = 10.0  # a start of this many CPU seconds takes one core's slot: OpenClaw (20) runs cores/2 at a time
START_UNKNOWN_CPU_S = 10.0  # never seen and no recipe says: one slot
SLOT_UNGATED = 0.125  # without a start gate a slot is held for the milliseconds until it is spawned: some at a time
SLOT_HELD_MAX_S = 300.0  # a start that hangs must not hold up the fleet

# --- who dies first when memory is gone (oom_score_adj, -1000 never to 1000 first) ---------------------------------
OOM_ADJ_AT_ZERO = 500  # priority 0; above what ordinary programs have, so that agents go before the system
OOM_ADJ_PER_PRIORITY = 4  # priority 50 (the default) 300, priority 100 100
OOM_ADJ_LEAST = -500  # even the most important agent goes before Holdfast itself and sshd
OOM_ADJ_MOST = 900

# --- CPU by priority, where it is short ------------------------------------------------------------------------------
CPU_WEIGHT_STEP = 5.0  # for 50 of priority: 0 weighs 20, 50 (the default) 100 as the kernel's own, 100 weighs 500
CPU_WEIGHT_LEAST = 10  # whoever weighs less cannot answer a probe beside a busy neighbour, and is restarted for it
CPU_WEIGHT_MOST = 1_000  # ten ordinary agents; more would let one that spins silence the others
CPU_SHARES_PER_CORE_OF_ALL = 2_048  # v1, where all agents together compete with single processes: as two on each core

# --- users of agents ---------------------------------------------------------------------------------------------
USER_NAME_MAX = 31  # of a Linux user
SYSTEM_USERS_MAX = 64  # a system has some 900 numbers for all its services; further agents get a number of ours
USERADD_TIMEOUT_S = 30.0  # it waits for the lock of the user database
NUMERIC_UID_FIRST = 30_000  # used where no system user can be made: clear of people (1000 up), of systemd (60000 up)
NUMERIC_UID_LAST = 39_999  # and below 65536, which is all that a container may have
STOP_FILES_TIMEOUT_S = 5.0  # a stop is not held up longer by the files that announce it
EVIDENCE_TIMEOUT_S = 10.0
LAST_LINES_S = 1.0  # the reason of a death is mostly its last line, and the logger reads in turns
LAST_LINES_STEP_S = 0.15
FORMER_PODS_LOOKED_FOR = 8  # older ones were taken away when the next one came, or go when a keeper starts
LEAVE_POD_TRIES = 6  # a cgroup stays in use until the last zombie in it is gone
LEAVE_POD_PAUSE_S = 1.0  # doubled after each try: about a minute in all
PORT_LOOK_S = 2.0  # a stranger on an agent's port is looked at again after this long: it walks all of /proc

# --- what doctor asks for ----------------------------------------------------------------------------------------
DISK_LOW_BYTES = 1024 * 1024 * 1024  # two full sets of one agent's logs
DISK_LOW_FILES = 10_000
NOFILE_OWN = 200
NOFILE_PER_AGENT = 4  # pidfd, probe connection, memory file, FIFO; the last two in other processes
NOFILE_AGENTS_EXPECTED = 200
SECRET_MASKED_MIN_CHARS = 4  # a shorter "secret" would blot out ordinary words
DEGRADED_TEXT_MAX_CHARS = 300
KEEPER_FINISH_S = 3.0  # init kills a keeper that has not left after 5 s
GUARD_RETRY_S = 2.0  # a guard that was started needs a moment to take its lock and start init
OWN_PROTECTED_BYTES = 128 << 20  # guard, init, logger, keeper and worker take less with a thousand agents

# --- planned restarts and the order of starts ---------------------------------------------------------------------
PLANNED_LATE_MAX_S = 600.0  # a slot missed by more is passed over: after an outage nobody wants a storm of restarts
PLANNED_LOOK_MAX_S = 60.0  # the wall clock may jump: it is looked at this often while restarts are planned
PLANNED_WAIT_S = 5.0  # a slot that waits (busy, not well, no room) is looked at again
HANDS_OFF_LOOK_S = 5.0  # a failure held back by maintenance is looked at again: this late it is healed at its end
PLANNED_AT_ONCE = 2  # planned restarts under way at the same time: a fleet with one hour is restarted in turn

# --- resources: what agents and the node use -------------------------------------------------------------------
CURVE_FINE_S = 15.0  # memory curve of each agent: one hour in steps of 15 s ...
CURVE_FINE_POINTS = 240
CURVE_COARSE_S = 300.0  # ... and one day in steps of 5 min (their peaks): 4 KiB an agent in all
CURVE_COARSE_POINTS = 288
TREND_WINDOW_S = 3600.0  # growth is judged over at most this long
TREND_SETTLE_S = 120.0  # of an instance's life are left out: imports and caches always grow
TREND_SPAN_MIN_S = 300.0  # less says nothing: one garbage collection may be minutes away
TREND_POINTS_MIN = 12
TREND_SLICES = 24  # of the window; the lowest reading of each counts
TREND_RISING_SHARE = 0.85  # of all pairs of readings must rise: a sawtooth has about 0.6
TREND_GROWTH_MIN_BYTES = 4 * 1024 * 1024  # over the window; less is nobody's leak
TREND_GROWTH_OVER_SCATTER = 4.0  # times what one reading strays from the line
TREND_HORIZON_S = 7 * 86_400.0  # a limit further off is no prediction
LOOK_EVERY_S = 15.0  # everything but fast memory: CPU, descriptors, processes, disks of the node
LOOK_PROCESSES_MAX = 256  # of one agent, where they have to be read one by one; more are counted, not read
LOOK_DESCRIPTORS_OF = 16  # processes of one agent whose open files are counted
LOOK_SLICE_S = 0.008  # a pass gives the loop back after this long, so that no probe waits for it
LOOK_SLICE_PAUSE_S = 0.02
MEMORY_EVERY_S = 2.0  # agents with a limit; of the others every LOOK_EVERY_S unless somebody looks
MEMORY_SHOWN_EVERY_S = 1.0  # while somebody looks
TREND_TOLD_S = 3600.0  # growth is told when it reaches the limit within this ...
TREND_LEAVE_FACTOR = 1.5  # ... until that is this many times further off
TREND_SHARE_MIN = 0.3  # of the limit must be in use: below it, growth is a start or a cache
TREND_RETOLD_SHARE = 0.5  # the words change when half of the time they named is left
RESOURCE_LEAVE_FACTOR = 0.94  # every threshold is left this much below where it is entered: 85 % at 80 %
PIDS_WARN_SHARE = 0.9  # of `limits.pids`
TREND_EVERY_LOOKS = 4  # agents with a limit: each minute; without: five times rarer
DISK_ROUND_EVERY_S = 600.0  # every agent's own directories are measured this often
DISK_ROUND_FIRST_S = 60.0  # not while a fleet is starting
DISK_ROUND_MAX_S = 300.0
ALARM_AGAIN_S = 3600.0  # a value that dances around its level is told once an hour at most
ALARMS_KEPT = 2_000
DISK_WARN_SHARE = 0.85  # of a filesystem on which no agent lives: Holdfast's own
DISK_FULL_BYTES = 32 * 1024 * 1024  # less than this, and less than 1 %, is full: writes fail now or in a moment
DISK_OUT_SHARE = 0.01
DISK_ROOM_FACTOR = 2.0  # full is left when there is twice that

# --- one cause on the node -------------------------------------------------------------------------------------
NODE_CONFIRM_S = 10.0  # a full disk or a dead loopback for this long is an incident even if nobody suffers yet
NODE_CALM_S = 60.0  # its cause must stay away for this long before an incident of the node is over: no flapping
NODE_ALERT_S = 120.0  # one alert for all agents after this long; most causes are over by then
NODE_LOOK_S = 1.0  # while something stands
NODE_IDLE_LOOK_S = 5.0  # clocks; disks and interfaces each LOOK_EVERY_S
AWAY_GAP_S = 5.0  # wall and monotonic clock drift apart by less than that in years of slewing
AWAY_GRACE_S = 30.0  # after a gap everybody has connections and timers to put in order
TOGETHER_WINDOW_S = 10.0  # two probe intervals of most recipes
TOGETHER_FRESH_S = 30.0  # older words may be outdated
TOGETHER_MIN = 5  # fewer that fail alike is chance, or one bad deployment
TOGETHER_SHARE = 0.2  # of the agents that run and can be heard
TOGETHER_OVER_SHARE = 0.3  # fewer of them than this still bad: it is over ...
TOGETHER_CALM_S = 10.0  # ... when that holds for this long
TOGETHER_PATIENCE_S = 30.0  # then one agent is let go, to see whether a restart helps
CANARY_S = 120.0  # and the next one: a restart with its gate takes less
CANARY_GOOD_S = 5.0
NAMES_SHOWN = 10  # of agents in one sentence

# --- the first minutes: service, adoption, upgrade ---------------------------------------------------------------
SYSTEMCTL_TIMEOUT_S = 30.0  # systemd itself answers at once; a machine that is starting may not
SERVICE_STOP_S = 360.0  # above the longest grace: OpenClaw drains for up to 330 s
RENEW_S = 60.0  # a new keeper answers within a second or two; a starved machine takes longer
UPGRADE_PIP_S = 900.0  # a dozen wheels over a slow line
UPGRADE_INDEX_S = 60.0  # one question to the package index
UPGRADE_CHECK_S = 60.0  # starting the new code once; a starved machine takes its time
UPGRADE_PROVE_S = 60.0  # the new keeper answers within a second or two
UPGRADE_STEADY_S = 1.0  # one keeper for so long: a new one that crashes does so while it takes up the fleet
ADOPT_QUIET_S = 300.0  # a turn under way is waited for this long before the adoption is put off
ADOPT_DRAIN_SEEN_S = 10.0  # Hermes looks every second whether it shall take no new turns
ADOPT_SAY_S = 10.0  # between two lines about what is waited for
ADOPT_STOP_SLACK_S = 30.0  # beyond the agent's own grace, for the manager that stops it
ADOPT_CLEAR_S = 30.0  # a port is free within a second of its process's end
ADOPT_START_S = 300.0  # the former way's own start: OpenClaw was seen to take 119 s under load
ADOPT_HEALTHY_S = 900.0  # a start under load may take several times its start period
VERSION_TIMEOUT_S = 5.0  # `--version` of a Node program takes half a second
TAKE_OVER_S = 30.0  # a guard told to leave ends keeper and logger first, which get 5 s each

# --- evidence before a hung instance is killed, and post-mortems ---------------------------------------------------
EVIDENCE_BOUND_S = 1.5  # the kill is never held up longer, whatever hangs: the agent has to come back
EVIDENCE_AT_ONCE = 4  # collectors beside each other: when a fleet hangs, CPU belongs to its recovery
EVIDENCE_QUICK_BELOW_S = 0.9  # with less time left only /proc is looked at: a stack needs up to 0.4 s under load
EVIDENCE_LEAST_S = 0.3  # the collector's own start takes a good part of this: with less left, none is started
EVIDENCE_SAMPLE_S = 0.25  # least time a second sample of a busy process needs
BUNDLE_MAX_BYTES = 2 * 1024 * 1024
BUNDLE_PROCESSES_MAX = 32  # a fork bomb is told by its number, not by its members
BUNDLE_THREADS_MAX = 64  # of one process
BUNDLE_DESCRIPTORS_MAX = 200
BUNDLE_FRAMES_MAX = 100
BUNDLE_TEXT_MAX_CHARS = 500
STACKED_PROCESSES_MAX = 4  # of one tree: a stack each costs up to 0.4 s under load
SOCKETS_READ_MAX_BYTES = 4 * 1024 * 1024  # of the kernel's table: a proxy with 100,000 connections is not read whole
PSS_READ_MAX_BYTES = 2 * 1024**3  # the kernel walks every page for it
KERNEL_LOG_MAX_BYTES = 16 * 1024 * 1024  # the largest ring buffer in use
KERNEL_LINES_KEPT = 60
POSTMORTEM_MAX_BYTES = 1024 * 1024
POSTMORTEM_FRAMES = 30  # of one thread; the bundle has the rest
CURVE_POINTS_MAX = 240  # more than a picture of 720 pixels shows
SIMILAR_WINDOW_S = 7 * 86_400.0
SIMILAR_SHOWN = 10
PROVEN_AFTER_S = 60.0  # good for this long: what it runs with is proven (as CONFIRM_S)
PROVEN_LOOK_S = 30.0  # how often the keeper looks for newly proven instances
CHANGES_SHOWN = 20
CHANGES_RECORDS_READ = 200_000  # of the ledger since the last good run: a few seconds of a thread
SOCKET_OLD_S = 20.0  # a peer that said nothing for so long while its reader waits: no time-out is set, or a long one
SPIN_CPU_SHARE = 0.5  # of a core while we looked
DESCRIPTORS_FULL_SHARE = 0.97
CHANGED_JUST_BEFORE_S = 900.0

# --- holdfast.yaml in full -----------------------------------------------------------------------------------------
BUSY_MAX_S = 1800.0  # the longest model call with tools that a loop may announce; more hides a hang
FILE_BEAT_MAX_AGE_S = 120.0  # two missed touches of once a minute
COMMAND_PROBE_INTERVAL_S = 60.0  # a process for each question: far dearer than a GET
COMMAND_PROBE_TIMEOUT_S = 10.0  # the start of an interpreter on a loaded machine, and one request
LOG_PATTERN_WITHIN_S = 60.0  # lines further apart have nothing to do with each other
LOG_PATTERNS_MAX = 32  # of one agent; each is tried on each of its lines
LOG_PATTERN_MAX_CHARS = 1_000
PUSH_GRACE_S = 60.0  # cron jobs and networks are late by seconds
FUNCTION_INTERVAL_S = 60.0  # the recipe's question is about work done, which changes slowly
PLANNED_TIMES_MAX = 48  # of one agent: twice an hour is no planned restart any more
IDLE_WAIT_S = 3600.0  # then the restart is passed over until its next time
MAINTENANCE_LENGTH_S = 3600.0  # an hour off duty is the usual window
DEPENDENCIES_TOTAL_MAX = 20_000  # of a fleet, replicas counted: some 1 MB of what the keeper is sent (8 MiB)
DEPENDENCIES_MAX = 100  # of one agent, as written
LOG_AGE_S = 14 * 86_400.0  # mission, promise 17: 14 to 30 days
LOG_RATE_LINES_S = 20_000  # no agent says so much; a loop that prints does
LOG_CAPPED_FILES_BYTES = 100 * 1024 * 1024  # as one log file of ours
LOG_FILE_LEAST_BYTES = 65_536  # the longest line shown must fit into one file
LOG_FILES_MAX = 1_000
SHIPPING_MAX = 8  # places that an agent's lines are sent to
MEMORY_WARN_SHARE = 0.70  # mission, promise 11
MEMORY_ALARM_SHARE = 0.80
CPU_BUSY_SHARE = 0.90  # mission, promise 18: above 90 % for five minutes
CPU_BUSY_FOR_S = 300.0
DISK_FULL_SHARE = 0.85  # mission, promise 18
DESCRIPTORS_SHARE = 0.80
SHARE_NEVER = 1_000_000.0  # `off`: a threshold that nothing reaches (infinity cannot be written in JSON)
SPEC_FILES_MAX = 200  # holdfast.yaml and everything it includes; more is a glob that goes too far
SPEC_ALL_FILES_MAX_BYTES = 8 * 1024 * 1024
PLAN_LINES_SHOWN = 40  # of one `up`; --json has them all

# --- logs in full ------------------------------------------------------------------------------------------------
LOG_FILE_MIN_BYTES = 4096  # a smaller file would be rotated at every line
LOG_NODE_BYTES = 10 * 1000**3  # of all agents together: a hundred agents at the default would else take 50 GB
LOG_NODE_SHARE = 0.10  # of the disk they lie on, when that is less

# --- beats ----------------------------------------------------------------------------------------------------------
BEATS_MISSED = 2  # mission: two missed beats of 60 s; one late beat is nobody's failure
BEAT_GATHERED_S = 0.5  # init gathers beats for 0.25 s; what is on its way to us is not missed
BEAT_DOUBT_S = 5.0  # so long before a deadline the machine's pressure is read, once a second
OWN_LATE_S = 1.0  # a timer of ours that rings later than this: we could not hear
CLOCK_JUMP_S = 2.0  # the wall clock moved so far against the monotonic one: it was set, or the machine slept
CONFIRM_MAX_S = 300.0  # a source that may be silent for longer ends no incident later: people wait for its end
CONFIRM_SLACK_S = 5.0  # beyond the longest silence that a source of behaviour allows
RETELL_S = 1.0  # a judgement that triage could not take (starved, an act under way) is told again

# --- sources of behaviour beside beats ----------------------------------------------------------------------------
SOURCE_LAG_S = 1.0  # our loop later than this: what was due meanwhile may lie unread with us
FILE_LOOK_TIMEOUT_S = 5.0  # a stat takes microseconds; longer is a file system that does not answer
MOUNT_ANSWER_TIMEOUT_S = 2.0  # a network mount answers in milliseconds; an agent may wait a little for a busy one
MOUNT_ANSWER_GOOD_S = 5.0  # an answer counts for so long: many agents on one mount start on one question
MOUNT_TABLE_GOOD_S = 1.0  # reading the table costs 0.1 ms, too much for each of 1,000 starts
DISK_LOOK_TIMEOUT_S = 5.0  # for each mount; its last figures stand while it does not answer
PUSH_DROPPED_S = 1.0  # tokens of agents that leave together go with one write
MATCHER_TIMEOUT_S = 15.0  # 1 MiB searched by many patterns, on a loaded machine
MATCHER_ANSWER_MAX_BYTES = 1_048_576  # counts and one cut line for each pattern
PROBES_AT_ONCE_PER_CORE = 2  # probes mostly wait; more would be load of our own
PROBER_SLACK_S = 5.0  # ending a tree and saying so
PROBER_ANSWER_MAX_BYTES = 262_144  # 16 KiB of output, escaped
FUNCTION_TIMEOUT_S = 30.0  # OpenClaw's RPC was seen to take 8 s on a loaded machine
FUNCTION_RETRIES = 3
PUSH_CONNECTIONS_MAX = 128  # each is open for the moment of one request
PUSH_REQUEST_S = 10.0  # to arrive in
PUSH_HEAD_MAX_BYTES = 16_384
PUSH_BODY_MAX_BYTES = 10_000  # as healthchecks.io keeps of a body
PUSH_DRAINED_MAX_BYTES = 1_048_576  # read and dropped beyond it, so that the answer arrives
PUSH_RATE_S = 10.0  # pushes a second of one agent in the long run; more is a loop gone wild
PUSH_BURST = 50.0
PUSH_RETRY_S = 5.0  # its port is held by somebody else

# --- log files that agents write themselves --------------------------------------------------------------------------
CAPPED_LOOK_S = 45.0  # a flood of 10 MB/s goes 450 MB over its cap, which disks have
CAPPED_SOON_S = 1.0  # after an instance began, when a file of its agent waits to be cut
CAPPED_MATCHES_MAX = 1_000  # of one agent; logs with a date in their name are a few dozen
CAPPED_LIST_MAX_S = 15.0  # one agent's files are found in milliseconds; a dead file system must hold up no other agent
CAPPED_CUT_MAX_S = 60.0  # 100 MB take a second to compress, a loaded disk some more to sync
CAPPED_ROUND_MAX_S = 600.0  # of all agents; then the helper process is ended and the next round begins
CAPPED_START_WAIT_S = 10.0  # a start waits so long at most for a file that is to be cut before it
CAPPED_TAIL_PART = 10  # a tenth of the cap stays in the file: who looks into it finds the newest lines there
CAPPED_DELTA_BYTES = 64 * 1024 * 1024  # written while a file is copied; an agent faster than that loses the rest
CAPPED_SHOWN = 3  # files named in one sentence
CAPPED_ANSWER_MAX_BYTES = 8 * 1024 * 1024  # about one agent: a thousand paths of the longest kind
SHIP_LAG_SHOWN_S = 15.0  # lines are sent within a second or two; a server may pause for ten
SHIP_LATE_S = 600.0  # longer than a log server's own restart or upgrade
SHIP_LAG_TOLD_EVERY_S = 15.0  # figures of a server that lags; the keeper wakes up for each
OWN_LOG_BYTES = 10 * 1024 * 1024  # of each of Holdfast's own logs; as much again at most is kept compressed

# --- versioned state -------------------------------------------------------------------------------------------------
SNAPSHOT_EVERY_S = 60.0  # mission, promise 9: any minute
SNAPSHOT_STORE_EVERY_S = 60.0  # as often as a snapshot is made; hourly is enough where traffic costs
SNAPSHOT_BUDGET_SHARE = 0.10  # of the disk that the home lies on
SNAPSHOT_BUDGET_BYTES = 10 * 1024**3
STATE_PATHS_MAX = 64
STATE_EXCLUDES_MAX = 256

# --- keeping, thinning and deleting snapshots -------------------------------------------------------------------------
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

# --- the second place of snapshots ------------------------------------------------------------------------------------
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

# --- versioned state as asked for -------------------------------------------------------------------------------------
SNAPSHOT_LABEL_MAX = 200  # characters: a sentence, which fits a line of a table
SNAPSHOT_PIN_MAX = 40  # part of a file's name
STATE_PATH_MAX = 4096  # PATH_MAX of Linux
RESTORE_PLAN_S = 15.0  # a person waits for the comparison with the live tree; beyond it, none is shown
STATE_LOST_SHOWN = 8  # paths named before a restore; the counts say the rest

# --- restoring --------------------------------------------------------------------------------------------------------
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

# --- databases that are written while they are kept -------------------------------------------------------------------
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

# --- what a snapshot reads ------------------------------------------------------------------------------------------
SNAPSHOT_FILE_TRIES = 3  # readings of a file that changes under each of them; then it is flagged
SNAPSHOT_REREAD_BYTES = 256 * 1024 * 1024  # larger files are read twice at most: a log that always grows costs enough
SNAPSHOT_DEPTH_MAX = 256  # directories in each other, each held open; a path of the kernel's own length has 2,048
SNAPSHOT_LISTED_MAX = 100  # paths that a manifest lists as fuzzy, and as left out; who repairs needs to see the first

# --- a restore from its stop to its end -------------------------------------------------------------------------------
RESTORE_HALT_S = 30.0  # beyond the agent's grace: init may be replaced meanwhile, and sweeps what will not go
RESTORE_LOOK_S = 1.0  # how often an agent on a restored state is looked at while it has to prove itself
RESTORE_DEATHS_MAX = 2  # of an agent on a restored state before it proved itself; then the former state returns
RESTORE_RECOVER_TRIES = 5  # a second apart: a worker that was killed, a disk that was full for a moment
RESTORE_ANSWER_S = 10.0  # a person is told how the agent is after its restore; agents that start longer are "starting"
RESTORE_CHOICES_MAX = 5  # snapshots tried by tier 3: each is built whole and looked at, while the agent is down
DAMAGED_TREE_KEPT_S = 7 * 86_400.0  # what tier 3 replaced: time for a person to come back from holiday and look at it
DAMAGED_TREE_LOOK_S = 3_600.0  # how often it is looked whether that time is over, or the disk budget short
STATE_CHECK_MAX_S = 60.0  # after a death before the gate; most states are looked through in a second
STATE_CHECK_LIVED_S = 5.0  # an agent without a gate that died so young did not get through its start

# --- density: the RAM semaphore ---------------------------------------------------------------------------------------
NODE_RESERVE_MIN_BYTES = 256 * 1024 * 1024  # what one tick of the fastest machine measured (1.5 GB/s) takes
NODE_RESERVE_SHARE = 0.08
NODE_RESERVE_MAX_SHARE = 0.25  # of a very small node: the reserve must leave something to reserve it for
SLACK_MIN_BYTES = 16 * 1024 * 1024  # an agent that waits allocates less between two looks
SLACK_MAX_BYTES = 256 * 1024 * 1024
SLACK_LEAST_BYTES = 1024 * 1024  # on nodes so small that 16 MB would be a large part of them
SLACK_NODE_SHARE = 1 / 64  # the least slack of a node below 1 GB
SLACK_ALL_SHARE = 1 / 4  # of the node, as the least slack of all agents together: 1,000 idle ones would fill it
SLACK_TRIGGER = 1 / 3  # growth beyond this share of the slack between two readings doubles it
SLACK_DECAY = 0.9  # per SLACK_DECAY_S without growth
SLACK_DECAY_S = 0.1
SLACK_LENT_SHARE = 0.5  # of what nobody asked for; the other half waits for the important, who hold no ceiling
CEILING_AIM = 7 / 8  # of the slack: a ceiling between CEILING_LEAST and all of it is left as it is
CEILING_LEAST = 3 / 4
BREATH_SHARE = 1 / 4  # of the reserve, for all who take little when nothing is left; to fork and send, 256 KB do
BREATH_RATE_S = 4.0  # times the least slack in a second (64 MB/s): who takes more would be through with it at once
RATE_MEMORY_S = 0.5  # over which growth is smoothed; a spike of 350 MB/s shows within two ticks
STARVED_S = 0.15  # of a more important need, before anybody is shed for it: a hiccup is shorter
STARVED_MAX_S = 4.0  # then an equal may go for it, or it goes itself: a ceiling may hold somebody who holds a lock
STARVED_LAST_S = 8.0  # then somebody goes even if memory is said to be on its way: nobody waits longer
FED_BYTES_S = 2 * 1024 * 1024  # slower growth is what the kernel lets pass above memory.high: measured 1 MB/s
PAUSE_MAX_S = 2.0  # a paused agent may hold a lock that another waits for
PAUSE_REST_S = 4.0  # and is not paused again before this, so that it runs two thirds of the time at least
SHED_EVIDENCE_S = 0.4  # /proc and a Python stack; within it a frozen agent costs nothing
SHED_GRACE_S = 5.0  # for a graceful end, where that much time is left
SHED_MARGIN_S = 0.5  # kept between the end of the time left and our last act
DYING_STALL_S = 2.0  # later, memory of a dying agent counts as on its way only at the pace it comes, this far ahead
SOFT_TIGHT_SHARE = 0.10  # of the budget: less free than this, and the soft steps begin
ASK_MEMORY_S = 5.0  # for the answer of an agent that is asked for memory: a cache is dropped in less
SOFT_EVERY_S = 30.0  # an agent is asked, or paged out, not more often
BACK_FIRST_S = 2.0  # room must last so long before a shed agent comes back; doubled with each shedding in BACK_FORGET_S
BACK_MAX_S = 300.0
BACK_FORGET_S = 600.0
BACK_SPARE_SHARE = 0.05  # of the budget, left free beside whoever comes back: else the next breath sheds it again
START_NEED_PATIENCE_S = 5.0  # a start that nothing but less important agents keeps out
START_PEAK_FACTOR = 1.2
START_NEED_BYTES = 250_000_000  # of a recipe that says nothing, at its first start
START_GUESS_SHARE = 0.5  # of a node's room for agents, at most, for that guess: else a small node starts nobody
START_PEAKS_KEPT = 5  # starts differ by a tenth; the largest of so many is what the next may take
START_SEEN_S = 1.0  # heard of later than this after its spawn, a start may have had its peak before
START_FLAT_BYTES_S = 5 * 1024 * 1024
START_FLAT_S = 3.0
START_LEASE_MAX_S = 90.0  # the lease of a start that never settles is given back to the others
ADMISSION_PRESSURE = 0.20  # share of time stalled for memory (PSI some, 10 s): no more starts
START_TAKES_S = 10.0  # for the estimate of who waits, before any start of the kind was seen
QUEUE_LOOK_S = 1.0  # the whole line of starts is looked at so often: pressure ends, and what was read grows old
MEMORY_FIRST_LOOK_S = 0.25  # a fleet does not wait longer for somebody who cannot read the node's memory
DISK_ADMISSION_LEFT = 1 / 3  # of what the warning leaves: warned at 85 %, no start from 95 % on
DISK_ADMISSION_BYTES = 4 * 1000**3  # a large disk that is 95 % full has room for more than any start takes
TICK_CALM_S = 1.0
TICK_QUIET_S = 2.0  # nobody starts, leaves or grows: a look at 100 agents takes 6 ms of CPU
TICK_ROOMY_S = 15.0  # ... and much is free: a look at 1,000 agents takes 50 ms, and ceilings hold without it
TICK_ROOMY_SHARE = 1 / 16  # of what is free may go before such a look
TICK_BUSY_S = 0.25  # leases and the kernel's word keep the promise, not the speed of looking
TICK_TIGHT_S = 0.1
TICK_BLIND_S = 0.025  # without ceilings our own readings are all there is
IDLE_AFTER_S = 900.0  # people pause for minutes, and come back
IDLE_AFTER_MIN_S = 1.0  # signs of work are looked at about once a second
HIBERNATE_WAKE_S = 30.0  # an agent that was just woken is left awake
REPLICAS_UP_S = 15.0  # between two steps up: a start needs so long before it takes work off the queue
REPLICAS_DOWN_S = 300.0  # a queue that comes back within five minutes would start them all again
REPLICAS_MAX = 1000  # of one agent, as many as a machine runs at all
QUEUE_DEPTH_MAX = 1e12  # tasks, reported or for each replica; more is a mistake
NODE_MEMORY_MIN_BYTES = 32 * 1000 * 1000  # smaller, and nothing is left beside the reserve
NODE_KEPT_MIN_BYTES = 1000 * 1000  # of `node.reserve`
CAPACITY_SAFETY = 1.1  # on what was observed: the next agent is not the last one
UNHELD_LOOK_S = 10.0  # between two looks whether agents are in their memory cgroups: a file to read for each of them

# --- agents that sleep because they are idle --------------------------------------------------------------------------
SLEEP_LOOK_S = 5.0  # between two looks at who is idle: a quarter of an hour of patience needs no finer one
SLEEP_LOOK_MIN_S = 0.5  # for those who declare a patience of seconds
SLEEP_CPU_WEIGHT = 0.25  # of the latest look at its CPU: what a waiting agent does for a moment is no work
SLEEP_WATCH_S = 0.04  # of listen queues of the frozen: whoever connects is served within 100 ms
SLEEP_WATCH_ALL_S = 1.0  # of their open connections, which costs more and only brings data that nobody waits for
SLEEP_WATCH_SHARE = 0.02  # of a core, at most, for all of this watching
SLEEP_UNIX_SOCKETS_MAX = 64  # watched of one agent: each is asked for by itself
SLEEP_WAKE_TICK_S = 0.005  # to tell the time of a wake-up, which is some ten milliseconds
SLEEP_WAKE_LOOK_S = 2.0  # then it is awake and slow
SLEEP_WAKE_LEAD_S = 1.0  # it is woken so long before something planned, until its own wake-up was timed
SLEEP_PORTS_MAX = 16  # held in a stopped agent's stead
SLEEP_PORT_BACKLOG = 128  # as of most servers
SLEEP_PORT_TRY_S = 0.2  # until the agent's own sockets are gone
SLEEP_PORT_TAKEN_S = 5.0  # they are gone with its processes: after that somebody else has the port
SLEEP_CALLERS_MAX = 64  # taken and held open while it starts; more wait in the kernel's queue
SLEEP_CALLER_HELD_S = 300.0  # a start may wait for memory; no client is more patient
SLEEP_REACH_S = 0.05  # between two tries to hand a caller on

# --- what is remembered of an agent's use, for `capacity` -------------------------------------------------------------
HISTORY_SHARE = 0.95  # the rest is a peak that all agents never have at once
HISTORY_READINGS_MIN = 12  # of work: three minutes; fewer say more about its start than about its work
HISTORY_READINGS_MAX = 4_096  # then halved: seventeen hours of work, so that a mark follows a new version within days
HISTORY_AGED_S = 7 * 86_400.0  # of CPU: a week has work days and quiet days
HISTORY_WORK_CORES = 0.02  # an agent that waits takes less: a beat, a timer, a poll
HISTORY_START_S = 120.0  # after its start it is loading: that is the start's peak, which is kept apart
CAPACITY_WORK_SHARE = 0.75  # of a start's peak: what OpenClaw (0.9 of 1.2 GB) and Hermes (0.14 of 0.25) hold later
CAPACITY_RECIPES = ("openclaw", "hermes")  # answered also where nobody runs them: the question before the first one
HISTORY_KEPT_EVERY_S = 300.0  # written down: five minutes of readings are a small loss

# --- leaks: a planned restart before the limit ------------------------------------------------------------------------
QUIET_HOUR_BEGINS_H = 3  # local time: few people ask their agents anything between three and five ...
QUIET_HOUR_ENDS_H = 5  # ... and jobs of the night, which begin on the hour of midnight to two, are over
LEAK_LAST_S = 600.0  # before the limit at the latest: a stop with its grace, evidence and a slow start fit in
LEAK_LAST_SHARE = 0.1  # of the time one fill takes, if that is less: who fills in ten minutes is not stopped at once
LEAK_BUSY_S = 900.0  # before the quiet hour ends, who is still busy is restarted nevertheless
LEAK_NIGHT_MARGIN = 1.5  # a quiet hour is waited for only if the limit is this many times as far away
LEAK_AGAIN_S = 600.0  # a program that fills sooner is not helped by restarts: then the ladder has to see it die
LEAK_NODE_SHARE = 0.1  # of the budget must be held by one without a limit: else it is not what fills the node
LEAK_RUSH_S = 30.0  # a leak too quick for a trend is judged over the last readings ...
LEAK_RUSH_SPAN_S = 12.0  # ... of at least so long: a request that takes much memory is over by then, or holds it
LEAK_RUSH_POINTS_MIN = 6
RECENT_POINTS = 32  # readings kept for that, of each agent with a limit
LEAK_RUSH_LAST_S = 15.0  # beyond the grace of its stop, before the limit
REPLICAS_LOOK_S = 5.0  # how often the rule of replicas is asked; a new number is acted upon at once
DEPTH_STALE_S = 300.0  # a number said once and never again says nothing

# --- who takes what the machine is short of ---------------------------------------------------------------------------
NEIGHBOUR_SHARE = 0.25  # of the resource; less is not what others suffer for
NEIGHBOUR_IO_BYTES_S = 5_000_000.0  # a disk that is only slow has nobody to be named
NEIGHBOURS_NAMED = 3
NEIGHBOUR_EVERY_S = 10.0  # a walk of /proc costs about 50 ms with 500 processes
NEIGHBOUR_KEPT_S = 30.0  # the names stay so long after the shortage, so that one who looks still sees them
NEIGHBOUR_DEPTH_MAX = 64  # generations looked upwards for whose a process is
DEATH_CURVE_S = 120.0  # readings so long before a death for memory tell how it came to it
DEATH_RATE_SPAN_S = 1.5  # less apart, two readings are no rate
