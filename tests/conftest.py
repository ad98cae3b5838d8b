"""What failed, told once more where a reader of a long run looks first: at its end."""

from __future__ import annotations

import contextlib
import os

import pytest

LINES_MAX = 40
"""Of one failure; the whole of it stands where it happened."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Append a failed test to the file that `HOLDFAST_FAILURES` names; `./dev` prints it last."""
    path = os.environ.get("HOLDFAST_FAILURES")
    if path is None or not report.failed:
        return
    text = report.longreprtext.splitlines()[-LINES_MAX:]
    with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
        file.write("\n".join([f"-- {report.nodeid} ({report.when})", *text, ""]))
