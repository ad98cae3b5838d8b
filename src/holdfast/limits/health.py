"""Probes, beats, and the other sources of behaviour; what agents and the machine use."""

# --- probes ----------------------------------------------------------------------------------------------------------
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

# --- beats -----------------------------------------------------------------------------------------------------------
BEATS_MISSED = 2  # mission: two missed beats of 60 s; one late beat is nobody's failure
BEAT_GATHERED_S = 0.5  # init gathers beats for 0.25 s; what is on its way to us is not missed
BEAT_DOUBT_S = 5.0  # so long before a deadline the machine's pressure is read, once a second
OWN_LATE_S = 1.0  # a timer of ours that rings later than this: we could not hear
CLOCK_JUMP_S = 2.0  # the wall clock moved so far against the monotonic one: it was set, or the machine slept
CONFIRM_MAX_S = 300.0  # a source that may be silent for longer ends no incident later: people wait for its end
CONFIRM_SLACK_S = 5.0  # beyond the longest silence that a source of behaviour allows
RETELL_S = 1.0  # a judgement that triage could not take (starved, an act under way) is told again

# --- sources of behaviour beside beats -------------------------------------------------------------------------------
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

# --- resources: what agents and the node use -------------------------------------------------------------------------
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

# --- the host's pressure: shares of time in which tasks stall --------------------------------------------------------
PRESSURE_STEP_S = 0.5
PRESSURE_ENTER = {"cpu": 0.7, "memory": 0.2, "io": 0.5}  # cpu 0.7: about three tasks for each core
PRESSURE_LEAVE = {"cpu": 0.5, "memory": 0.05, "io": 0.25}
PRESSURE_CALM_S = 3.0  # calm for this long before silence counts against agents again

# --- one cause on the node -------------------------------------------------------------------------------------------
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
