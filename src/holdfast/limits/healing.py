"""The ladder, its patience, start slots and planned restarts."""

# --- the ladder (design: "The ladder, in numbers") -------------------------------------------------------------------
RESTART_BACKOFF_S = (0.0, 10.0, 60.0)  # the first restart is free; three failures climb one tier
RESTART_WINDOW_S = 900.0  # failures older than 15 min say nothing about the present cause
QUIET_TRY_FIRST_S = 300.0  # after the alert: often enough to recover alone, rare enough to burn nothing
QUIET_TRY_MAX_S = 3600.0
CONFIRM_S = 60.0  # good for this long after the gate = recovered
STOP_GRACE_S = 30.0
HUNG_GRACE_S = 5.0  # a hung agent rarely answers TERM; evidence is taken before

# --- the ladder's patience -------------------------------------------------------------------------------------------
RESTART_JITTER = 0.1  # spreads a fleet that fell together; delays only grow by it, so spacing holds
PERMIT_SLACK_S = 5.0  # init restarts by its permit; this long after the expected time the keeper does it
ACT_PATIENCE_S = 10.0  # an act without an echo is sent again; all acts are fenced, so twice does no harm
RECREATE_PATIENCE_S = 60.0  # a new pod means directories and cgroups, on a disk that may be slow
QUEUE_ASK_S = 30.0  # a queued agent asks for its start slot again

# --- start slots -----------------------------------------------------------------------------------------------------
SLOT_CPU_S = 10.0  # a start of this many CPU seconds takes one core's slot: OpenClaw (20) runs cores/2 at a time
START_UNKNOWN_CPU_S = 10.0  # never seen and no recipe says: one slot
SLOT_UNGATED = 0.125  # without a start gate a slot is held for the milliseconds until it is spawned: some at a time
SLOT_HELD_MAX_S = 300.0  # a start that hangs must not hold up the fleet

# --- planned restarts and the order of starts ------------------------------------------------------------------------
PLANNED_LATE_MAX_S = 600.0  # a slot missed by more is passed over: after an outage nobody wants a storm of restarts
PLANNED_LOOK_MAX_S = 60.0  # the wall clock may jump: it is looked at this often while restarts are planned
PLANNED_WAIT_S = 5.0  # a slot that waits (busy, not well, no room) is looked at again
HANDS_OFF_LOOK_S = 5.0  # a failure held back by maintenance is looked at again: this late it is healed at its end
PLANNED_AT_ONCE = 2  # planned restarts under way at the same time: a fleet with one hour is restarted in turn
