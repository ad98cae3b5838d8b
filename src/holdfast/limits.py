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

# --- holdfast.yaml -------------------------------------------------------------------------------------------
SPEC_MAX_BYTES = 1_048_576  # a spec is written by hand; more is a wrong file
SPEC_MAX_ALIASES_EXPANDED = 10_000  # stops YAML alias bombs
AGENT_NAME_MAX = 63  # a DNS label, so that the same name works on Kubernetes
AGENTS_MAX = 5_000

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
KEEPER_DEAD_LAST_RESORT_S = 60.0
START_LIGHT_CPU_S = 1.0  # an agent whose start was seen to cost less skips the queue of start slots
ALERT_TIMEOUT_S = 10.0
