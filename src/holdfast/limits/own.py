"""Holdfast's own processes: ledger, keeper and init, the API, the first minutes."""

# --- ledger ----------------------------------------------------------------------------------------------------------
LEDGER_SEGMENT_BYTES = 16 * 1024 * 1024
LEDGER_RESERVE_BYTES = 1024 * 1024  # preallocated ahead, so that a full disk never stops healing
LEDGER_RECORD_MAX_BYTES = 1024 * 1024

# --- Holdfast's own processes ----------------------------------------------------------------------------------------
SOCKET_PATH_MAX_BYTES = 107  # sun_path less its NUL
API_BODY_MAX_BYTES = 8 * 1024 * 1024
KEEPER_YOUNG_S = 60.0  # an unexpected error makes an older keeper start over, and not more often than this
START_LIGHT_CPU_S = 1.0  # an agent whose start was seen to cost less skips the queue of start slots
ALERT_TIMEOUT_S = 10.0

# --- keeper and init -------------------------------------------------------------------------------------------------
BEAT_INTERVAL_S = 2.0  # mutual beats: the only periodic wake-up of a fleet at process level
INIT_ANSWER_TIMEOUT_S = 5.0  # hello with thousands of agents is one line of some MB
INIT_SILENT_S = 10.0  # five beats unanswered: connect again
INIT_RECONNECT_S = 0.02  # first pause; grows with the absence
INIT_RECONNECT_MAX_S = 0.5
INIT_ABSENT_S = 0.3  # guard brings init back within this; longer and with guard's lock free, both are dead
STORE_FLUSH_S = 0.5  # the ledger is the truth, the database a checkpoint: writes are gathered this long
STORE_RETRY_S = 5.0  # after a full or read-only disk
DEATHS_KEPT = 5

# --- the API ---------------------------------------------------------------------------------------------------------
API_KEEP_ALIVE_S = 5
API_CONNECTIONS_MAX = 256  # followers of events and logs included; one more is told to come back
API_HELD_BACK_S = 1.0  # after a start, until the world was compared; longer only when init is away
API_WAIT_MAX_S = 120.0  # longest {"wait": true}
STREAM_SIGN_OF_LIFE_S = 15.0
LOG_LINES_MAX = 1_000_000  # of one answer
EVENTS_LAST_MAX = 100_000  # records counted from the end are held in memory until they are sent

# --- what doctor asks for --------------------------------------------------------------------------------------------
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

# --- the first minutes: service, adoption, upgrade -------------------------------------------------------------------
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
