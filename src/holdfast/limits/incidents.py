"""Incidents, alerts, evidence and post-mortems."""

# --- incidents and alerts --------------------------------------------------------------------------------------------
INCIDENTS_KEPT = 1_000  # newest; more would fill the disk of a fleet that flaps for months
TIMELINE_MAX = 200  # entries of one incident; the ledger has the rest
ALERT_RETRY_FIRST_S = 10.0
ALERT_RETRY_MAX_S = 3600.0
ALERT_KEPT_S = 7 * 86_400.0  # an alert a week old tells nobody anything
ALERTS_WAITING_MAX = 1_000

# --- evidence before a hung instance is killed, and post-mortems -----------------------------------------------------
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
