"""What failed, told once more where a reader of a long run looks first: at its end; and the second try of a CI run."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

LINES_MAX = 40
"""Of one failure; the whole of it stands where it happened."""
REAL_PROCESSES = {Path(__file__).parent / name for name in ("e2e", "full")}
"""Tests that watch real processes on a machine that others use too. What is computed gets no second try."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `HOLDFAST_SECOND_TRY=1` a test of real processes that fails is run once more, and both are told.

    A fault fails twice. What fails once is named as unsteady at the end of the run: it has to be mended, but does not
    hold up the work of others. Only `.ci/run` asks for this; `./dev test` by hand is strict.
    """
    if os.environ.get("HOLDFAST_SECOND_TRY") != "1":
        return
    for item in items:
        if REAL_PROCESSES.intersection(item.path.parents):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Append a failed test to the file that `HOLDFAST_FAILURES` names; `./dev` prints it last."""
    path = os.environ.get("HOLDFAST_FAILURES")
    unsteady = str(report.outcome) == "rerun"
    if path is None or not (report.failed or unsteady):
        return
    text = report.longreprtext.splitlines()[-LINES_MAX:]
    told = "failed, and is run once more" if unsteady else report.when
    with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
        file.write("\n".join([f"-- {report.nodeid} ({told})", *text, ""]))
