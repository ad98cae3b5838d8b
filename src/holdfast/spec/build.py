"""Settings by the names of holdfast.yaml into the model, and back.

Invariant: `settings_of(build(...))` has the values that `build` was given. Pure. `build` is called by `resolve.py`,
`settings_of` by whoever compares two specifications in the user's own words (keeper/telling/difference.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from holdfast import limits
from holdfast.spec.model import (
    AgentSpec,
    CommandProbe,
    Health,
    Idle,
    Limits,
    Logs,
    Memory,
    Resources,
    Restart,
    Scaling,
    State,
    Stop,
)
from holdfast.spec.recipe import Given, Path


def build(
    name: str, recipe: str, values: Mapping[Path, Any], given: Given, secret_env: Sequence[str], base: str
) -> AgentSpec:
    """`values`: every key, durations in seconds, sizes in bytes. `base`: the working directory where none is named."""

    def get(*path: str) -> Any:
        return values.get(path)

    def each(key: str) -> dict[str, str]:
        return {path[1]: str(value) for path, value in values.items() if path[0] == key and len(path) == 2}

    working_dir = get("working_dir") or base
    return AgentSpec(
        name=name,
        command=program(get("command"), working_dir),
        recipe=recipe,
        working_dir=working_dir,
        env=each("env"),
        secret_env=tuple(secret_env),
        user=get("user"),
        priority=get("priority"),
        labels=each("labels"),
        once=get("once"),
        limits=Limits(
            memory_bytes=get("limits", "memory"),
            cpus=get("limits", "cpus"),
            pids=get("limits", "pids"),
            nofile=get("limits", "nofile"),
        ),
        health=_health(get, working_dir),
        stop=Stop(signal=get("stop", "signal"), grace_s=get("stop", "grace"), hung_grace_s=get("stop", "hung_grace")),
        restart=_restart(get),
        depends_on=get("depends_on"),
        maintenance=get("maintenance"),
        logs=_logs(get),
        resources=_resources(get),
        state=_state(get, name),
        memory=Memory(
            min_bytes=get("memory", "min") or 0,
            start_bytes=get("memory", "start"),
            start_default_bytes=get("memory", "start_default"),
            ask=get("memory", "ask"),
        ),
        idle=Idle(after_s=get("idle", "after"), action=get("idle", "action")),
        scaling=scaling if isinstance(scaling := get("replicas"), Scaling) else None,
        exit_codes=each("exit_codes"),
        ask_codes=given.ask_codes,
        notify=get("notify"),
        scrub_env=given.scrub_env,
        recipe_data=dict(given.recipe_data),
    )


Get = Callable[..., Any]


def _health(get: Get, working_dir: str) -> Health:
    probe: CommandProbe | None = get("health", "command")
    function_s = get("health", "function")
    return Health(
        http=get("health", "http"),
        start_gate=get("health", "start_gate") if get("health", "http") is not None else None,
        interval_s=get("health", "interval"),
        timeout_s=get("health", "timeout"),
        retries=get("health", "retries"),
        start_period_s=get("health", "start_period"),
        start_cpu_s=get("health", "start_cpu"),
        beat_s=get("health", "beat"),
        busy_max_s=get("health", "busy_max"),
        file=get("health", "file"),
        command=None if probe is None else replace(probe, command=program(probe.command, working_dir)),
        log=get("health", "log"),
        push=get("health", "push"),
        function=function_s is not None,
        function_interval_s=limits.FUNCTION_INTERVAL_S if function_s is None else function_s,
    )


def _restart(get: Get) -> Restart:
    wait_s = get("restart", "when_idle")
    return Restart(
        backoff_s=get("restart", "backoff"),
        window_s=get("restart", "window"),
        spacing_s=get("restart", "spacing"),
        retry_s=get("restart", "retry"),
        at=get("restart", "at"),
        when_idle=wait_s is not None,
        idle_wait_s=limits.IDLE_WAIT_S if wait_s is None else wait_s,
    )


def _logs(get: Get) -> Logs:
    return Logs(
        max_size_bytes=get("logs", "max_size"),
        max_files=get("logs", "max_files"),
        max_age_s=get("logs", "max_age"),
        total_bytes=get("logs", "total"),
        rate_lines_s=get("logs", "rate"),
        files=get("logs", "files"),
        files_max_bytes=get("logs", "files_max"),
        ship=get("logs", "ship"),
    )


def _resources(get: Get) -> Resources:
    warn, alarm = get("resources", "memory")
    return Resources(
        memory_warn=warn,
        memory_alarm=alarm,
        cpu=get("resources", "cpu"),
        cpu_for_s=get("resources", "cpu_for"),
        disk=get("resources", "disk"),
        disk_bytes=get("resources", "disk_bytes"),
        processes=get("resources", "processes"),
        descriptors=get("resources", "descriptors"),
    )


def _state(get: Get, name: str) -> State:
    return State(
        paths=tuple(path.replace("{agent}", name) for path in get("state", "paths")),
        exclude=get("state", "exclude"),
        every_s=get("state", "every"),
        store=get("state", "store"),
        store_every_s=get("state", "store_every"),
        budget_bytes=get("state", "budget"),
        encrypt=get("state", "encrypt"),
        capture=get("state", "capture"),
    )


def program(command: Sequence[str], working_dir: str) -> tuple[str, ...]:
    """A program named by a path is made absolute here; a bare name is left to the agent's PATH."""
    first = os.path.expanduser(command[0]) if command[0].startswith("~/") else command[0]
    if "/" in first:
        first = os.path.normpath(os.path.join(working_dir, first))
    return (first, *command[1:])


def settings_of(spec: AgentSpec) -> dict[Path, Any]:
    """Every value that `build` was given, and what only recipes give, in the order of the reference."""
    health, restart, logs, resources, state = spec.health, spec.restart, spec.logs, spec.resources, spec.state
    return {
        ("recipe",): spec.recipe,
        ("command",): spec.command,
        ("working_dir",): spec.working_dir,
        **{("env", name): value for name, value in spec.env.items()},
        ("user",): spec.user,
        ("priority",): spec.priority,
        **{("labels", name): value for name, value in spec.labels.items()},
        ("once",): spec.once,
        ("notify",): spec.notify,
        ("depends_on",): spec.depends_on,
        ("limits", "memory"): spec.limits.memory_bytes,
        ("limits", "cpus"): spec.limits.cpus,
        ("limits", "pids"): spec.limits.pids,
        ("limits", "nofile"): spec.limits.nofile,
        ("health", "http"): health.http,
        ("health", "start_gate"): health.start_gate,
        ("health", "interval"): health.interval_s,
        ("health", "timeout"): health.timeout_s,
        ("health", "retries"): health.retries,
        ("health", "start_period"): health.start_period_s,
        ("health", "start_cpu"): health.start_cpu_s,
        ("health", "beat"): health.beat_s,
        ("health", "busy_max"): health.busy_max_s,
        ("health", "file"): health.file,
        ("health", "command"): health.command,
        ("health", "log"): health.log,
        ("health", "push"): health.push,
        ("health", "function"): health.function_interval_s if health.function else None,
        ("stop", "signal"): spec.stop.signal,
        ("stop", "grace"): spec.stop.grace_s,
        ("stop", "hung_grace"): spec.stop.hung_grace_s,
        ("restart", "backoff"): restart.backoff_s,
        ("restart", "window"): restart.window_s,
        ("restart", "spacing"): restart.spacing_s,
        ("restart", "retry"): restart.retry_s,
        ("restart", "at"): restart.at,
        ("restart", "when_idle"): restart.idle_wait_s if restart.when_idle else None,
        ("maintenance",): spec.maintenance,
        **{("exit_codes", code): words for code, words in spec.exit_codes.items()},
        ("logs", "max_size"): logs.max_size_bytes,
        ("logs", "max_files"): logs.max_files,
        ("logs", "max_age"): logs.max_age_s,
        ("logs", "total"): logs.total_bytes,
        ("logs", "rate"): logs.rate_lines_s,
        ("logs", "files"): logs.files,
        ("logs", "files_max"): logs.files_max_bytes,
        ("logs", "ship"): logs.ship,
        ("resources", "memory"): (resources.memory_warn, resources.memory_alarm),
        ("resources", "cpu"): resources.cpu,
        ("resources", "cpu_for"): resources.cpu_for_s,
        ("resources", "disk"): resources.disk,
        ("resources", "disk_bytes"): resources.disk_bytes,
        ("resources", "processes"): resources.processes,
        ("resources", "descriptors"): resources.descriptors,
        ("state", "paths"): state.paths,
        ("state", "exclude"): state.exclude,
        ("state", "every"): state.every_s,
        ("state", "store"): state.store,
        ("state", "store_every"): state.store_every_s,
        ("state", "budget"): state.budget_bytes,
        ("state", "encrypt"): state.encrypt,
        ("state", "capture"): state.capture,
        ("memory", "min"): spec.memory.min_bytes or None,
        ("memory", "start"): spec.memory.start_bytes,
        ("memory", "start_default"): spec.memory.start_default_bytes,
        ("memory", "ask"): spec.memory.ask,
        ("idle", "after"): spec.idle.after_s,
        ("idle", "action"): spec.idle.action,
        ("replicas",): spec.scaling,
        ("secret_env",): spec.secret_env,
        ("ask_codes",): spec.ask_codes,
        ("scrub_env",): spec.scrub_env,
        ("guarded_files",): spec.guarded_files,
        **{("recipe_data", name): value for name, value in spec.recipe_data.items()},
    }
