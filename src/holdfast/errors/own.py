"""Holdfast's own processes: HF3xxx."""

from holdfast.errors.catalogue import entry as _kind

KEEPER_UNREACHABLE = _kind(
    "HF3001",
    "KeeperUnreachable",
    "no keeper answers in {home}",
    "Start it with `holdfast up`. Agents that run are not affected.",
    5,
)
ALREADY_OWNED = _kind(
    "HF3002",
    "HomeAlreadyOwned",
    "another Holdfast (guard pid {pid}) owns {home}",
    "Talk to it with `holdfast --home {home} ps`, or choose another --home.",
)
KEEPER_RUNS_ALREADY = _kind(
    "HF3003",
    "KeeperRunsAlready",
    "a keeper (pid {pid}) already works in {home}",
    "Nothing to do: the second one has left.",
)
STORE_CORRUPT = _kind(
    "HF3004",
    "StoreCorrupt",
    "the keeper's database was damaged ({reason}); it was set aside as {aside}",
    "Nothing to do: it was rebuilt from the ledger. Keep the file if you want to know why; check the disk.",
)
LEDGER_BROKEN = _kind(
    "HF3005",
    "LedgerBroken",
    "the ledger does not verify at record {seq}: {reason}",
    "Treat records after it as untrusted; see docs/runbooks/HF3005.md.",
    6,
)
DAEMON_DID_NOT_START = _kind(
    "HF3006",
    "DaemonDidNotStart",
    "Holdfast did not come up within {timeout_s} s",
    "Read {log} and run `holdfast doctor`.",
)
HOME_UNUSABLE = _kind(
    "HF3007",
    "HomeUnusable",
    "{home} cannot be used: {reason}",
    "Choose another with --home DIR or HOLDFAST_HOME, or correct its owner and permissions.",
)
API_REFUSED = _kind(
    "HF3008",
    "RequestRefused",
    "{reason}",
    "Put right what the message names, then say it again. Nothing was changed; `holdfast COMMAND --help` tells more.",
    2,
)
KEEPER_FAILED = _kind(
    "HF3009",
    "KeeperFailed",
    "the keeper could not carry this out: {reason}",
    "See {home}/log/keeper.log; agents are not affected.",
)
LEDGER_IN_USE = _kind(
    "HF3010",
    "LedgerInUse",
    "another process writes the ledger in {path}",
    "Only one keeper may write it: see `holdfast ps`. Reading and verifying work at any time.",
)
ANSWER_CUT_OFF = _kind(
    "HF3011",
    "AnswerCutOff",
    "the keeper ended before it could say whether this is done: {what}",
    "It is started again by itself, and finishes or undoes what was begun: never half of it stays. `holdfast ps` and "
    "`holdfast events --since 5m` tell which; say it again if it was not done.",
    5,
)

COMMAND_FAILED = _kind(
    "HF3020",
    "CommandFailed",
    "this command failed in a way nobody foresaw ({reason}); the report is in {path}",
    "Agents are not affected. Please send that file to the authors.",
)
OUTPUT_FAILED = _kind(
    "HF3022",
    "OutputFailed",
    "the output could not be written: {reason}",
    "Make room where it goes to, or send it elsewhere. What the command did besides is done.",
)
NOT_ALL_STOPPED = _kind(
    "HF3021",
    "NotAllStopped",
    "after {timeout_s} s still there: {left}",
    "Run `holdfast down` again with a longer --timeout; see `holdfast ps` for what each one waits for.",
)
SERVICE_UNAVAILABLE = _kind(
    "HF3040",
    "ServiceUnavailable",
    "Holdfast cannot be made a service here: {reason}",
    "Use `holdfast service install --cron`, or let your own service manager run `holdfast --home {home} service run`.",
)
SERVICE_FAILED = _kind(
    "HF3041",
    "ServiceToolFailed",
    "{program} could not do it: {reason}",
    "Do what it says, or run it by hand to see more. Agents are not affected; repeating the command is safe.",
)
RENEW_FAILED = _kind(
    "HF3042",
    "RenewFailed",
    "the running Holdfast did not take the installed code: {reason}",
    "Agents are not affected. See {home}/log, then run `holdfast service reload` again.",
)


DRILL_FAILED = _kind(
    "HF3050",
    "DrillNotPossible",
    "the drill cannot take place: {reason}",
    "See `holdfast drill --help`.",
)
UPGRADE_FAILED = _kind(
    "HF3060",
    "UpgradeFailed",
    "the upgrade to {release} did not take place: {reason}; {former} runs on",
    "Agents are not affected. Remove that reason, then `holdfast upgrade` again.",
)
UPGRADE_ELSEWHERE = _kind(
    "HF3061",
    "UpgradeElsewhere",
    "this Holdfast comes from {tool}, which has to fetch the newer one",
    "Run `{command}`, then `holdfast upgrade --activate`: agents are not touched.",
)
UPGRADE_STUCK = _kind(
    "HF3062",
    "UpgradeStuck",
    "neither {release} nor {former} could be made to run: {reason}",
    "Agents run on. Read {home}/log, then `holdfast upgrade --rollback`, which tries again.",
    6,
)
NEWEST_UNKNOWN = _kind(
    "HF3063",
    "NewestUnknown",
    "what the newest Holdfast is cannot be told: {reason}",
    "Look at the network and at pip's own configuration (`pip config list`). Nothing was changed.",
)
