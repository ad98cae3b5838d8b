"""Which cgroups this Holdfast may use, found once at start and shown by doctor.

The plan is found by really trying: a directory is made and removed, a controller is switched on. Four kinds:
v2 (delegated to us, or as root) · hybrid (v2 for tracking and killing, v1 controllers for limits) · v1 (the freezer or
a named hierarchy for tracking) · none. Nothing outside directories called holdfast-* is ever written, but for switching
controllers on for children and, where that demands an inner cgroup without processes, moving them into a leaf.

Where our directories go. v2 as root: the top of the hierarchy, not the cgroup of our unit, since systemd could not
start a unit again whose cgroup has become an inner one with agents below. v2 as an ordinary user, or in a container
that sees the host's tree: our own cgroup. v1: below our own cgroup of each controller, so that limits above hold.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from holdfast.node import delegation

Kind = Literal["v2", "hybrid", "v1", "none"]
LIMITING = ("memory", "pids", "cpu")
TRACKING_V1 = ("freezer", "name=systemd", "pids", "memory", "cpu")  # best first; the freezer can stop a fork bomb
FORCE_ENV = "HOLDFAST_CGROUPS"
_TOP_PATHS = ("/", "/init.scope")


class Mount(NamedTuple):
    """One mounted hierarchy."""

    point: Path
    root: str  # which directory of the hierarchy is seen at the mount point
    controllers: frozenset[str]  # v1: what is mounted, with name=...; v2: empty


@dataclass(frozen=True, slots=True)
class View:
    """What /proc says about cgroups."""

    v2: Mount | None
    v1: tuple[Mount, ...]
    own_v2: str | None  # our path in the v2 hierarchy
    own_v1: Mapping[str, str]  # controller -> our path
    init_v2: str | None  # the path of process 1


@dataclass(frozen=True, slots=True)
class CgroupPlan:
    """Where the pods of one home live. `controllers`: which limits can be held."""

    kind: Kind
    why: str
    v2_root: Path | None = None
    v2_controllers: frozenset[str] = frozenset()
    v1_roots: Mapping[str, Path] = field(default_factory=dict)  # controller -> directory that holds the pods
    tracker: str | None = None  # the v1 controller that tracks processes, when v2 does not

    @property
    def controllers(self) -> frozenset[str]:
        return self.v2_controllers | frozenset(name for name in self.v1_roots if name in LIMITING)


def choose(home_id: str, forced: str | None = None) -> CgroupPlan:
    """The plan for this home. `forced`: none, v1, v2 or auto; else the environment's HOLDFAST_CGROUPS.

    Makes ROOT/holdfast-HOME_ID directories, idempotent. Must be called by a process of Holdfast itself, for it may move
    the processes of its own cgroup into a leaf.
    """
    return plan(look(), f"holdfast-{home_id}", _wish(forced), os.geteuid() == 0)


def expect(forced: str | None = None) -> CgroupPlan:
    """What `choose` would find, as far as that can be told without changing anything that stays."""
    return plan(look(), "holdfast-", _wish(forced), os.geteuid() == 0, take=False)


def _wish(forced: str | None) -> str:
    return forced or os.environ.get(FORCE_ENV) or "auto"


def plan(view: View, name: str, wish: str, is_root: bool, take: bool = True) -> CgroupPlan:
    """As `choose`, from a given view of the machine; as `expect` when nothing is to be taken."""
    if wish not in ("auto", "none", "v1", "v2"):
        return CgroupPlan("none", f"{FORCE_ENV}={wish} is not understood (auto, v2, v1 or none)")
    if wish == "none":
        return CgroupPlan("none", f"asked for by {FORCE_ENV}=none")
    v2_root, v2_controllers, v2_why = None, frozenset[str](), "not asked for"
    if wish != "v1":
        v2_root, v2_controllers, v2_why = _take_v2(view, name, is_root, take)
    v1_roots: dict[str, Path] = {}
    v1_why = "not asked for"
    if wish != "v2":
        wanted = [each for each in LIMITING if each not in v2_controllers]
        v1_roots, v1_why = _take_v1(view, name, wanted, v2_root is None, take)
    if v2_root:
        kind: Kind = "hybrid" if v1_roots else "v2"
        held = v2_controllers | v1_roots.keys()
        why = v2_why if held >= set(LIMITING) or not view.v1 else f"v2: {v2_why}; v1: {v1_why}"
        return CgroupPlan(kind, why, v2_root, v2_controllers, v1_roots)
    tracker = next((each for each in TRACKING_V1 if each in v1_roots), None)
    if tracker:
        return CgroupPlan("v1", f"v2: {v2_why}; v1: {v1_why}", v1_roots=v1_roots, tracker=tracker)
    return CgroupPlan("none", f"v2: {v2_why}; v1: {v1_why}")


# --- what the machine has ----------------------------------------------------------------------------------------
def look() -> View:
    return parse(_text("/proc/self/mountinfo"), _text("/proc/self/cgroup"), _text("/proc/1/cgroup"))


def parse(mountinfo: str, own: str, first: str) -> View:
    """From the texts of /proc/self/mountinfo, /proc/self/cgroup and /proc/1/cgroup."""
    v2: Mount | None = None
    v1: list[Mount] = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) < 5 or len(tail) < 3:
            continue
        point, root = Path(_unescape(fields[4])), _unescape(fields[3])
        if tail[0] == "cgroup2":
            v2 = v2 or Mount(point, root, frozenset())
        elif tail[0] == "cgroup":
            v1.append(Mount(point, root, frozenset(tail[2].split(","))))
    paths = _paths(own)
    return View(v2, tuple(v1), paths.pop("", None), paths, _paths(first).get(""))


def _paths(text: str) -> dict[str, str]:
    """Controller -> path; "" is the v2 hierarchy."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(",") if number != "0" else [""]:
            found[controller] = path.removesuffix(" (deleted)")
    return found


def _unescape(text: str) -> str:
    for code, char in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, char)
    return text


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def place(mount: Mount, path: str) -> Path | None:
    """Where a hierarchy's path is seen under its mount point; None when it is outside of what is mounted."""
    root = mount.root.rstrip("/")
    if "/.." in path or (root and path != root and not path.startswith(root + "/")):
        return None
    return mount.point / path[len(root) :].lstrip("/")


# --- taking it ---------------------------------------------------------------------------------------------------
def v2_base(view: View, is_root: bool) -> Path | None:
    """The directory under which ours is made; see the module for the reasons."""
    if view.v2 is None or view.own_v2 is None:
        return None
    if is_root and view.init_v2 in _TOP_PATHS:
        return view.v2.point
    return place(view.v2, view.own_v2.removesuffix("/" + delegation.LEAF) or "/")


def _take_v2(view: View, name: str, is_root: bool, take: bool) -> tuple[Path | None, frozenset[str], str]:
    base = v2_base(view, is_root)
    if base is None:
        return None, frozenset(), "no v2 hierarchy is mounted here"
    refusal = _refusal(base)
    if refusal is None and not os.access(base / "cgroup.procs", os.W_OK):
        refusal = f"processes may not be moved inside {base}"
    if refusal:
        return None, frozenset(), refusal
    root = base / name
    if not take:
        return root, *delegation.offered(base, LIMITING)
    root.mkdir(exist_ok=True)
    held, why = delegation.enable(base, root, LIMITING)
    if not delegation.is_usable(root):
        return None, frozenset(), f"{base} counts threads, so no process can be moved below it; {why}"
    return root, held, why


def _take_v1(view: View, name: str, wanted: list[str], track: bool, take: bool) -> tuple[dict[str, Path], str]:
    """Our directory in each wanted hierarchy; with `track` also in the best one fit for tracking processes."""
    roots: dict[str, Path] = {}
    refusals: list[str] = []
    trackers = list(TRACKING_V1) if track else []
    for controller in [*trackers, *wanted]:
        if controller in roots or (controller not in wanted and not roots.keys().isdisjoint(TRACKING_V1)):
            continue
        mount = next((each for each in view.v1 if controller in each.controllers), None)
        base = place(mount, view.own_v1.get(controller, "/")) if mount else None
        if base is None:
            continue
        refusal = _refusal(base)
        if refusal:
            refusals.append(refusal)
            continue
        roots[controller] = base / name
        if take:
            roots[controller].mkdir(exist_ok=True)
    if refusals:
        return roots, "; ".join(dict.fromkeys(refusals))
    return roots, "usable: " + ", ".join(roots) if roots else "no v1 hierarchy is mounted here"


def _refusal(base: Path) -> str | None:
    """Try to make a cgroup below `base` and remove it; the reason when that fails."""
    trial = base / f"holdfast-trial-{secrets.token_hex(4)}"
    try:
        trial.mkdir()
    except OSError as error:
        return f"{base}: {error.strerror}"
    with contextlib.suppress(OSError):
        trial.rmdir()
    return None
