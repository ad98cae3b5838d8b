"""Log lines of agents, and log files that they write themselves."""

# --- logs ------------------------------------------------------------------------------------------------------------
LOG_FILE_BYTES = 100 * 1024 * 1024  # mission, promise 17: 100 MB x 5
LOG_FILES = 5
LOG_LINE_SHOWN_MAX_BYTES = 65_536  # a longer line is stored whole and shown cut
POSTMORTEM_LOG_LINES = 50

# --- logs in full ----------------------------------------------------------------------------------------------------
LOG_FILE_MIN_BYTES = 4096  # a smaller file would be rotated at every line
LOG_NODE_BYTES = 10 * 1000**3  # of all agents together: a hundred agents at the default would else take 50 GB
LOG_NODE_SHARE = 0.10  # of the disk they lie on, when that is less

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
