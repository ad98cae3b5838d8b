"""Where agents run: users, CPU by priority, who dies first."""

# --- users of agents -------------------------------------------------------------------------------------------------
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

# --- CPU by priority, where it is short ------------------------------------------------------------------------------
CPU_WEIGHT_STEP = 5.0  # for 50 of priority: 0 weighs 20, 50 (the default) 100 as the kernel's own, 100 weighs 500
CPU_WEIGHT_LEAST = 10  # whoever weighs less cannot answer a probe beside a busy neighbour, and is restarted for it
CPU_WEIGHT_MOST = 1_000  # ten ordinary agents; more would let one that spins silence the others
CPU_SHARES_PER_CORE_OF_ALL = 2_048  # v1, where all agents together compete with single processes: as two on each core

# --- who dies first when memory is gone (oom_score_adj, -1000 never to 1000 first) -----------------------------------
OOM_ADJ_AT_ZERO = 500  # priority 0; above what ordinary programs have, so that agents go before the system
OOM_ADJ_PER_PRIORITY = 4  # priority 50 (the default) 300, priority 100 100
OOM_ADJ_LEAST = -500  # even the most important agent goes before Holdfast itself and sshd
OOM_ADJ_MOST = 900
