"""What the snapshot means: which installations of OpenClaw and Hermes there are, and who runs them. Pure.

Invariant: nothing is guessed that decides where state lies: a state directory is named by the running process, by the
unit or pm2 entry that starts it, or is the program's own default and exists. Agents of a Holdfast are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from holdfast.adoption.model import Former, Found, Kind, Place, Pm2App, Running, Snapshot, UnitFile
from holdfast.recipes import hermes, openclaw

INSTANCE_ENV = "HOLDFAST_INSTANCE"
_STARTERS = ("node", "bun", "openclaw", "hermes")  # what a gateway's command line begins with, or python
_STATE_ENV: dict[Kind, str] = {"openclaw": "OPENCLAW_STATE_DIR", "hermes": "HERMES_HOME"}
_DEFAULT_DIR: dict[Kind, str] = {"openclaw": ".openclaw", "hermes": ".hermes"}
_PORT_ENV: dict[Kind, str] = {"openclaw": "OPENCLAW_GATEWAY_PORT", "hermes": "API_SERVER_PORT"}
_SYSTEM_BIN = ("/bin", "/usr/bin", "/usr/local/bin")  # a Python here belongs to no virtual environment
_PM2_TITLE = re.compile(r"PM2 v\S+: God Daemon \((.*)\)")
PM2_KILL_S = 1.6  # its own default between its signal and SIGKILL
_DEFAULT_PORT: dict[Kind, int] = {"openclaw": openclaw.PORT, "hermes": hermes.PORT}


def discover(snapshot: Snapshot) -> list[Found]:
    """Every installation, running ones first."""
    found = [_of_process(snapshot, process, kind) for process, kind in gateways(snapshot)]
    known = {each.state_dir for each in found}
    for unit in snapshot.units:
        kind = kind_of(unit.exec_start)
        if kind and (one := _of_unit(snapshot, unit, kind)).state_dir not in known:
            known.add(one.state_dir)
            found.append(one)
    for app in snapshot.pm2:
        kind = kind_of(app.argv)
        if kind and (one := _of_pm2(snapshot, app, kind)).state_dir not in known:
            known.add(one.state_dir)
            found.append(one)
    for place in snapshot.places:
        if place.path not in known:
            known.add(place.path)
            found.append(_of_place(snapshot, place))
    return found


def kind_of(argv: Iterable[str]) -> Kind | None:
    """Which gateway a command line starts."""
    words = list(argv)
    if not words:
        return None
    if words[0] == "openclaw-gateway":  # the title it gives itself
        return "openclaw"
    starter = os.path.basename(words[0])
    if "gateway" not in words or not (starter in _STARTERS or starter.startswith("python")):
        return None
    before = words[: words.index("gateway")]
    following = words[words.index("gateway") + 1 :][:1]
    if following and following[0] != "run" and not following[0].startswith("-"):
        return None  # a client of the gateway, such as `gateway status`
    bases = [os.path.basename(word) for word in before]
    if any(base in ("openclaw", "openclaw.mjs") for base in bases) or any("/openclaw/" in word for word in before):
        return "openclaw"
    return "hermes" if "hermes" in bases or "hermes_cli.main" in before else None


def gateways(snapshot: Snapshot) -> list[tuple[Running, Kind]]:
    """Main processes of gateways that no Holdfast runs; a wrapper and its child count once, as the child.

    For anybody but root only the user's own: of others neither who runs them nor where their state is can be seen.
    """
    kinds = {each.pid: kind for each in snapshot.processes if (kind := kind_of(each.argv))}
    parents = {each.ppid for each in snapshot.processes if kinds.get(each.pid) and each.ppid in kinds}
    return [
        (each, kinds[each.pid])
        for each in snapshot.processes
        if each.pid in kinds
        and each.pid not in parents
        and INSTANCE_ENV not in each.env
        and snapshot.uid in (0, each.uid)
    ]


def former_of(snapshot: Snapshot, process: Running) -> Former:
    """Who started this process: the unit whose cgroup it is in, the pm2 whose child it is, else a person."""
    for unit in snapshot.units:
        if f"/{unit.name}" in f"{process.cgroup}/" and _same_manager(unit, process):
            return _unit_former(unit)
    ancestors = _ancestors(snapshot, process)
    for app in snapshot.pm2:
        if app.pid and app.pid in ancestors:
            return _pm2_former(app.name, app.uid, app.pm2_home, process.env, was_active=True)
    god = next((each for each in snapshot.processes if each.pid in ancestors and each.comm.startswith("PM2 v")), None)
    if god is not None and process.env.get("name") and "pm_id" in process.env:  # in no saved list, but pm2's own
        titled = _PM2_TITLE.match(" ".join(god.argv))
        own = titled[1] if titled else os.path.join(_home(snapshot, god.uid), ".pm2")
        pm2_home = process.env.get("PM2_HOME") or own
        return _pm2_former(process.env["name"], god.uid, pm2_home, process.env, was_active=True)
    return Former(kind="process", uid=process.uid, was_active=True)


def _pm2_former(name: str, uid: int, pm2_home: str, env: Mapping[str, str], was_active: bool) -> Former:
    given = env.get("kill_timeout", "")
    kill_s = int(given) / 1000 if given.isdecimal() else PM2_KILL_S
    search = env.get("PATH", "")
    return Former(
        kind="pm2", name=name, uid=uid, pm2_home=pm2_home, search=search, kill_s=kill_s, was_active=was_active
    )


def units_for(snapshot: Snapshot, found: Found) -> list[UnitFile]:
    """Units that would start this very installation, whether or not they do now; asked by name of their main pid."""
    fitting = []
    for unit in snapshot.units:
        if kind_of(unit.exec_start) == found.kind and _unit_uid(snapshot, unit) == found.uid:
            state = state_dir(found.kind, unit.environment, _home(snapshot, found.uid), unit.exec_start)
            if state == found.state_dir:
                fitting.append(unit)
    return fitting


def _of_process(snapshot: Snapshot, process: Running, kind: Kind) -> Found:
    home = process.env.get("HOME") or _home(snapshot, process.uid)
    state = state_dir(kind, process.env, home, process.argv)
    place = _place(snapshot, state)
    former = former_of(snapshot, process)
    unit = next((each for each in snapshot.units if former.kind == "systemd" and each.name == former.name), None)
    app = next((each for each in snapshot.pm2 if former.kind == "pm2" and each.name == former.name), None)
    started_by = unit.exec_start if unit else app.argv if app else process.argv
    helpers = [each.argv for each in snapshot.processes if each.ppid == process.pid]
    lines = [started_by, process.argv, *helpers]
    port, known = _port(kind, process.env, started_by, place, process.ports)
    found = Found(
        kind=kind,
        uid=process.uid,
        user=_name(snapshot, process.uid),
        home_dir=home,
        state_dir=state,
        config=_config(kind, process.env, state, place),
        port=port,
        port_known=known,
        has_key=bool(place and place.has_key) or "API_SERVER_KEY" in process.env,
        pid=process.pid,
        starttime=process.starttime,
        cwd=process.cwd,
        argv=process.argv,
        env=process.env,
        former=former,
    )
    return _with_program(snapshot, found, lines, process.exe)


def _of_unit(snapshot: Snapshot, unit: UnitFile, kind: Kind) -> Found:
    uid = _unit_uid(snapshot, unit)
    return _dormant(snapshot, kind, uid, unit.environment, unit.exec_start, _unit_former(unit))


def _of_pm2(snapshot: Snapshot, app: Pm2App, kind: Kind) -> Found:
    former = _pm2_former(app.name, app.uid, app.pm2_home, app.env, was_active=False)
    return _dormant(snapshot, kind, app.uid, app.env, app.argv, former)


def _of_place(snapshot: Snapshot, place: Place) -> Found:
    env = {_STATE_ENV[place.kind]: place.path}
    return _dormant(snapshot, place.kind, place.uid, env, (), Former(kind="none", uid=place.uid))


def _dormant(
    snapshot: Snapshot, kind: Kind, uid: int, env: Mapping[str, str], argv: tuple[str, ...], former: Former
) -> Found:
    """An installation that does not run."""
    home = env.get("HOME") or _home(snapshot, uid)
    state = state_dir(kind, env, home, argv)
    place = _place(snapshot, state)
    port, known = _port(kind, env, argv, place, ())
    found = Found(
        kind=kind,
        uid=uid,
        user=_name(snapshot, uid),
        home_dir=home,
        state_dir=state,
        config=_config(kind, env, state, place),
        port=port,
        port_known=known,
        has_key=bool(place and place.has_key) or "API_SERVER_KEY" in env,
        argv=argv,
        env=dict(env),
        former=former,
    )
    return _with_program(snapshot, found, [argv], "")


# --- the parts ---------------------------------------------------------------------------------------------------
def _with_program(snapshot: Snapshot, found: Found, lines: list[tuple[str, ...]], exe: str) -> Found:
    import msgspec

    if found.kind == "openclaw":
        changes = _openclaw_program(snapshot, lines, exe)
        missing = [] if changes["install"] or changes["script"] else ["where its program is installed"]
    else:
        changes = {"install": _hermes_venv(snapshot, lines)}
        missing = [] if changes["install"] else ["the virtual environment it is installed in"]
    if _place(snapshot, found.state_dir) is None:
        missing.append(f"its state: there is no {found.config}")
    version = snapshot.versions.get(found.kind, "")
    known = ("gateway", "run", "--external-supervisor", "--replace", "--force")
    extra = _extra(lines[0], known) if lines else ()
    return msgspec.structs.replace(found, **changes, version=version, extra=extra, missing=tuple(missing))


def _openclaw_program(snapshot: Snapshot, lines: list[tuple[str, ...]], exe: str) -> dict[str, str]:
    mark = "/node_modules/openclaw/"
    words = [snapshot.programs.get(word, word) for line in lines for word in line]
    words += [path for name, path in snapshot.programs.items() if name == "openclaw"]
    install = next((word[: word.index(mark)] for word in words if mark in word and word.startswith("/")), "")
    script = next((word for word in words if word.endswith("/openclaw.mjs") and word.startswith("/")), "")
    named = next((line[0] for line in lines if line and os.path.basename(line[0]) == "node" and line[0][0] == "/"), "")
    running = exe if os.path.basename(exe) == "node" else ""
    return {"install": install, "script": "" if install else script, "node": named or running}


def _hermes_venv(snapshot: Snapshot, lines: list[tuple[str, ...]]) -> str:
    """From the program itself, else from the interpreter that runs its module, else from PATH."""
    interpreters = [
        line[0]
        for line in lines
        if len(line) > 2 and os.path.basename(line[0]).startswith("python")
        and (os.path.basename(line[1]) == "hermes" or line[1:3] == ("-m", "hermes_cli.main"))
    ]  # fmt: skip
    programs = [word for line in lines for word in line[:4] if os.path.basename(word) == "hermes"]
    started = [snapshot.programs.get(word, word) for word in [*programs, "hermes"]]
    for word in [*interpreters, *started]:
        directory = os.path.dirname(word)
        if word.startswith("/") and os.path.basename(directory) == "bin" and directory not in _SYSTEM_BIN:
            return os.path.dirname(directory)
    return ""


def _extra(argv: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Arguments behind `gateway` that the recipe does not give by itself."""
    if "gateway" not in argv:
        return ()
    rest = list(argv[argv.index("gateway") :])
    extra: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--port":
            rest[:1] = []
        elif word not in known and not word.startswith("--port="):
            extra.append(word)
    return tuple(extra)


def state_dir(kind: Kind, env: Mapping[str, str], home: str, argv: Iterable[str]) -> str:
    """Where its state lies, as the program itself decides: its variable, else its profile, else its default."""
    given, profile = env.get(_STATE_ENV[kind], ""), _profile(argv)
    default = os.path.join(home, _DEFAULT_DIR[kind])
    if kind == "hermes" and profile:
        root = given or default
        found = (
            root if os.path.basename(os.path.dirname(root)) == "profiles" else os.path.join(root, "profiles", profile)
        )
    elif kind == "openclaw" and not given:
        profile = profile or env.get("OPENCLAW_PROFILE", "")
        found = default if profile in ("", "default") else f"{default}-{profile}"
    else:
        found = given or default
    return os.path.normpath(found)


def _profile(argv: Iterable[str]) -> str:
    """`--profile NAME` in front of `gateway`."""
    words = list(argv)
    words = words[: words.index("gateway")] if "gateway" in words else []
    for index, word in enumerate(words):
        if word in ("--profile", "-p") and index + 1 < len(words):
            return words[index + 1]
        if word.startswith("--profile="):
            return word.partition("=")[2]
    return ""


def _config(kind: Kind, env: Mapping[str, str], state: str, place: Place | None) -> str:
    if kind == "hermes":
        return os.path.join(state, "config.yaml")
    return env.get("OPENCLAW_CONFIG_PATH") or (place.config if place else os.path.join(state, "openclaw.json"))


def _port(
    kind: Kind, env: Mapping[str, str], argv: tuple[str, ...], place: Place | None, listening: tuple[int, ...]
) -> tuple[int, bool]:
    """Its port, and whether that is known rather than the default. The order is the program's own."""
    given = ""
    for index, word in enumerate(argv):
        if word == "--port" and index + 1 < len(argv):
            given = argv[index + 1]
        elif word.startswith("--port="):
            given = word.partition("=")[2]
    configured = str(place.port) if place and place.port else ""
    # Hermes lets its own .env win over the environment; OpenClaw the other way round.
    order = (
        (configured, env.get(_PORT_ENV[kind], "")) if kind == "hermes" else (env.get(_PORT_ENV[kind], ""), configured)
    )
    for text in (given, *order):
        if text.isdecimal() and 0 < int(text) < 65536:
            return int(text), True
    if len(listening) == 1:
        return listening[0], True
    return _DEFAULT_PORT[kind], _DEFAULT_PORT[kind] in listening


def _unit_former(unit: UnitFile) -> Former:
    return Former(
        kind="systemd", name=unit.name, scope=unit.scope, uid=unit.uid, path=unit.path, was_enabled=unit.enabled
    )


def _same_manager(unit: UnitFile, process: Running) -> bool:
    in_user = f"/user@{process.uid}.service/" in process.cgroup
    return in_user == (unit.scope == "user") and (unit.scope == "system" or unit.uid == process.uid)


def _unit_uid(snapshot: Snapshot, unit: UnitFile) -> int:
    if unit.scope == "user" or not unit.user:
        return unit.uid
    if unit.user.isdecimal():
        return int(unit.user)
    return next((uid for uid, (name, _) in snapshot.users.items() if name == unit.user), 0)


def _ancestors(snapshot: Snapshot, process: Running) -> set[int]:
    parents = {each.pid: each.ppid for each in snapshot.processes}
    found, pid = {process.pid, process.ppid}, process.ppid
    while pid in parents and parents[pid] not in found:
        pid = parents[pid]
        found.add(pid)
    return found


def _place(snapshot: Snapshot, path: str) -> Place | None:
    return next((each for each in snapshot.places if each.path == path), None)


def _home(snapshot: Snapshot, uid: int) -> str:
    return snapshot.users.get(uid, ("", "/nonexistent"))[1]


def _name(snapshot: Snapshot, uid: int) -> str:
    return snapshot.users.get(uid, (str(uid), ""))[0]
