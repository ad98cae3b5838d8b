"""The suites in the order in which they run, one module each."""

from __future__ import annotations

from types import ModuleType

from bench.suites import beats, cli, death, evidence, footprint, idle, logs, logsearch, mass, memory, restart, state

_IN_ORDER = (restart, mass, footprint, idle, death, logs, logsearch, cli, beats, evidence, state, memory)
ALL: dict[str, ModuleType] = {suite.NAME: suite for suite in _IN_ORDER}
QUICK = ("restart", "footprint", "death")
