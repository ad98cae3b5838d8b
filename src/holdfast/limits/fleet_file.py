"""What holdfast.yaml may say."""

# --- holdfast.yaml ---------------------------------------------------------------------------------------------------
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

# --- holdfast.yaml in full -------------------------------------------------------------------------------------------
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
