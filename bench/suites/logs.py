"""Logs: CPU of the reader per GB and lines lost when it is killed; measured by programs of their own.

`bench/log_cost.py` compares the cost with svlogd, s6-log, supervisord and pm2; `tests/e2e/logger_kills.py` counts lines over
200 kills of Holdfast's logger.
"""

from __future__ import annotations

from bench.context import Context, Goal, Result, Section

NAME = "logs"
TITLE = "Logs: CPU per GB, lines lost in 200 kills"


def run(context: Context) -> Result:
    """Nothing yet on this checkout."""
    del context
    return {}


def report(result: Result) -> Section:
    """Two goals that are not judged."""
    del result
    cost = Goal("logs-cpu", "≤ 1.2 CPU s/GB", "not measured", None)
    return Section([], [cost, Goal("logs-lost", "0 lines lost in 200 kills", "not measured", None)])
