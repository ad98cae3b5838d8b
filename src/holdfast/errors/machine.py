"""The machine: HF4xxx."""

from holdfast.errors.catalogue import entry as _kind

DISK_FULL = _kind(
    "HF4001",
    "DiskFull",
    "the disk holding {path} is full; {what} is paused",
    "Free space there. Healing goes on; what was not written is counted in `holdfast doctor`.",
)
NO_CGROUPS = _kind(
    "HF4002",
    "NoCgroups",
    "no cgroup is delegated to this user: memory, cpu and process limits do not hold",
    "Start as root, or where systemd runs: `loginctl enable-linger`, then `holdfast up` again.",
)
LIMIT_NOT_HELD = _kind(
    "HF4003",
    "LimitNotHeld",
    "{agent}: limit {limit} cannot be enforced here ({reason})",
    "See `holdfast doctor` for what this machine can hold.",
)

MEMORY_NEAR_LIMIT = _kind(
    "HF4010",
    "MemoryNearLimit",
    "{agent}: {detail}",
    "See its curve with `holdfast describe {agent}`; raise `limits.memory`, or plan `restart.at`. Nothing was done.",
)
DISK_NEARLY_FULL = _kind(
    "HF4011",
    "DiskNearlyFull",
    "{detail}",
    "Free space there, or move what fills it: `du -xh {path} | sort -h | tail`. Nothing was stopped.",
)
NODE_TROUBLE = _kind(
    "HF4012",
    "NodeTrouble",
    "{cause}; healing is held back because of it for {count} of the agents: {agents}",
    "Remove the cause on this machine; see `holdfast incidents show {incident}`. Nobody is restarted meanwhile.",
)

NODE_TOO_SMALL = _kind(
    "HF4020",
    "NodeTooSmall",
    "there is no memory for agents: {detail}",
    "Give it more (`memory` under `node`, or the limit of the memory cgroup), or a smaller `reserve` there.",
)
MINIMUMS_TOO_LARGE = _kind(
    "HF4021",
    "MinimumsTooLarge",
    "{detail}; not kept for {agents}",
    "Lower `memory.min`, or move agents to another machine. More important agents keep theirs.",
)
AGENT_TOO_LARGE = _kind(
    "HF4022",
    "AgentTooLarge",
    "{agent} cannot be started here: {detail}",
    "Give the node more memory, or correct `memory.start` and `memory.min` of {agent}. Others are started meanwhile.",
)
AGENTS_SHED = _kind(
    "HF4023",
    "AgentsShed",
    "{count} of the agents went for the memory of more important ones: {agents}",
    "They come back by themselves when there is room; see `holdfast events --kind density.shed`.",
)
STARTS_HELD = _kind(
    "HF4024",
    "StartsHeld",
    "starts held back: {count}; first {agent}: {reason}",
    "See `holdfast top` for the queue. They begin by themselves when the reason is gone.",
)
NOISY_NEIGHBOUR = _kind(
    "HF4030",
    "NoisyNeighbour",
    "agents suffer on this machine: {detail}",
    "Move it elsewhere, limit it, or give agents more `priority` and it less; see `holdfast top`.",
)
