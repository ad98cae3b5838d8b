"""The environment an agent starts with: made from nothing, so that nothing of ours or of our caller's leaks. Pure.

From the caller only language and time zone are taken, and PATH where Holdfast runs as an ordinary user. What the spec
and the recipe say comes last and wins. init adds HOLDFAST_INSTANCE and NOTIFY_SOCKET at each spawn. Called by pods.pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from holdfast.limits import BEATS_MISSED
from holdfast.node.users import Identity

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RESERVED = ("HOLDFAST_INSTANCE", "NOTIFY_SOCKET")  # init's own, per instance
# Of systemd and of ours: an agent that sees these takes itself for the service and talks to the wrong place.
NEVER_INHERITED = (
    *RESERVED,
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "MAINPID",
    "MANAGERPID",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)
_LANGUAGE = ("LANG", "LANGUAGE", "TZ")


def clean(identity: Identity, home_dir: str, tmpdir: str, caller: Mapping[str, str], is_root: bool) -> dict[str, str]:
    """The base, before spec and recipe. `caller`: the environment of Holdfast itself."""
    shell = identity.shell if identity.shell and not identity.shell.endswith(("nologin", "false")) else "/bin/sh"
    base = {
        "PATH": DEFAULT_PATH if is_root else caller.get("PATH") or DEFAULT_PATH,
        "HOME": home_dir,
        "USER": identity.name,
        "LOGNAME": identity.name,
        "SHELL": shell,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "TMPDIR": tmpdir,
    }
    base.update({name: value for name, value in caller.items() if name in _LANGUAGE or name.startswith("LC_")})
    return base


def complete(
    base: Mapping[str, str],
    own: Mapping[str, str],
    scrub: Iterable[str],
    agent: str,
    notify: bool,
    beat_s: float | None = None,
) -> dict[str, str]:
    """`own`: what spec and recipe say. HOLDFAST_AGENT tells an agent that beats are heard.

    WATCHDOG_USEC: beats due each `beat_s` are missed after twice that, and clients of sd_notify send one at half of it.
    Without WATCHDOG_PID it means whoever reads it; with one it had to be the main process, whose number nobody knows
    before it is born.
    """
    found = {**base}
    if notify and beat_s is not None:
        found["WATCHDOG_USEC"] = str(round(BEATS_MISSED * beat_s * 1e6))
    found.update(own)
    if notify:
        found["HOLDFAST_AGENT"] = agent
    for name in (*scrub, *RESERVED):
        found.pop(name, None)
    return found
