"""What the snapshot means: which installations of OpenClaw and Hermes there are, and who runs them. Pure.

Invariant: nothing is guessed that decides where state lies: a state directory is named by the running process, by the
unit or pm2 entry that starts it, or is the program's own default and exists. Agents of a Holdfast are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from holdfast.adoption.model import Former, Found, Kind, Place, Pm2App, Running, Snapshot, UnitFile
from holdfast.recipes import hermes, openclaw

INSTANCE_ENV = "HOLDFAST_INSTANCE"
_STARTERS = ("node", "bun", "openclaw", "hermes")  # what a gateway's command line begins with, or python
_STATE_ENV: dict[Kind, str] = {"openclaw": "OPENCLAW_STATE_DIR", "hermes": "HERMES_HOME"}
_DEFAULT_DIR: dict[Kind, str] = {"openclaw": ".openclaw", "hermes": ".hermes"}
_PORT_ENV: dict[Kind, str] = {"openclaw": "OPENCLAW_GATEWAY_PORT", "hermes": "API_SERVER_PORT"}
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
    following = words[words.index("gateway") + 1 :][:1]
    if following and following[0] != "run" and not following[0].startswith("-"):
        return None  # a client of the gateway, such as `gateway status`
    bases = [os.path.basename(word) for word in words[:4]]
    if any(base in ("openclaw", "openclaw.mjs") for base in bases) or any("/openclaw/" in word for word in words[:4]):
        return "openclaw"
    return "hermes" if "hermes" in bases or "hermes_cli.main" in words else None


def gateways(snapshot: Snapshot) -> list[tuple[Running, Kind]]:
    """Main processes of gateways that no Holdfast runs; a wrapper and its child count once, as the child."""
    kinds = {each.pid: kind for each in snapshot.processes if (kind := kind_of(each.argv))}
    parents = {each.ppid for each in snapshot.processes if kinds.get(each.pid) and each.ppid in kinds}
    return [
        (each, kinds[each.pid])
        for each in snapshot.processes
        if each.pid in kinds and each.pid not in parents and INSTANCE_ENV not in each.env
    ]


def former_of(snapshot: Snapshot, process: Running) -> Former:
    """Who started this process: the unit whose cgroup it is in, the pm2 whose child it is, else a person."""
    for unit in snapshot.units:
        if f"/{unit.name}" in f"{process.cgroup}/" and _same_manager(unit, process):
            return _unit_former(unit)
    ancestors = _ancestors(snapshot, process)
    for app in snapshot.pm2:
        if app.pid and app.pid in ancestors:
            return Former(kind="pm2", name=app.name, uid=app.uid, pm2_home=app.pm2_home, was_active=True)
    return Former(kind="process", uid=process.uid, was_active=True)


def units_for(snapshot: Snapshot, found: Found) -> list[UnitFile]:
    """Units that would start this very installation, whether or not they do now; asked by name of their main pid."""
    fitting = []
    for unit in snapshot.units:
        if kind_of(unit.exec_start) == found.kind and _unit_uid(snapshot, unit) == found.uid:
            state = _state_dir(found.kind, unit.environment, _home(snapshot, found.uid))
            if state == found.state_dir:
                fitting.append(unit)
    return fitting


def _of_process(snapshot: Snapshot, process: Running, kind: Kind) -> Found:
    home = process.env.get("HOME") or _home(snapshot, process.uid)
    state = _state_dir(kind, process.env, home)
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
    former = Former(kind="pm2", name=app.name, uid=app.uid, pm2_home=app.pm2_home)
    return _dormant(snapshot, kind, app.uid, app.env, app.argv, former)


def _of_place(snapshot: Snapshot, place: Place) -> Found:
    env = {_STATE_ENV[place.kind]: place.path}
    return _dormant(snapshot, place.kind, place.uid, env, (), Former(kind="none", uid=place.uid))


def _dormant(
    snapshot: Snapshot, kind: Kind, uid: int, env: Mapping[str, str], argv: tuple[str, ...], former: Former
) -> Found:
    """An installation that does not run."""
    home = env.get("HOME") or _home(snapshot, uid)
    state = _state_dir(kind, env, home)
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
    words = [word for line in lines for word in line]
    words += [path for name, path in snapshot.programs.items() if name == "openclaw"]
    install = next((word[: word.index(mark)] for word in words if mark in word and word.startswith("/")), "")
    script = next((word for word in words if word.endswith("/openclaw.mjs") and word.startswith("/")), "")
    named = next((line[0] for line in lines if line and os.path.basename(line[0]) == "node" and line[0][0] == "/"), "")
    running = exe if os.path.basename(exe) == "node" else ""
    return {"install": install, "script": "" if install else script, "node": named or running}


def _hermes_venv(snapshot: Snapshot, lines: list[tuple[str, ...]]) -> str:
    """From the program itself, else from the interpreter that runs its module, else from PATH."""
    words = [word for line in lines for word in line[:4]]
    by_module = [line[0] for line in lines if line[1:3] == ("-m", "hermes_cli.main")]
    programs = [word for word in words if os.path.basename(word) == "hermes"]
    for word in [*programs, *by_module, snapshot.programs.get("hermes", "")]:
        directory = os.path.dirname(word)
        if word.startswith("/") and os.path.basename(directory) == "bin":
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


def _state_dir(kind: Kind, env: Mapping[str, str], home: str) -> str:
    return os.path.normpath(env.get(_STATE_ENV[kind]) or os.path.join(home, _DEFAULT_DIR[kind]))


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
