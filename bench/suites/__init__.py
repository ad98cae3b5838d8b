"""The suites in the order in which they run, one module each."""

from __future__ import annotations

from types import ModuleType

from bench.suites import death, footprint, idle, logs, mass, restart

ALL: dict[str, ModuleType] = {suite.NAME: suite for suite in (restart, mass, footprint, idle, death, logs)}
QUICK = ("restart", "footprint", "death")
