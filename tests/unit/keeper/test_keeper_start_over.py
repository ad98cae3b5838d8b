"""An error that nobody expected makes the keeper start over, but not in a tight circle."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio
from holdfast.clock import SystemClock
from holdfast.keeper.main import StartOver
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(StartOver(SystemClock().now_mono() - {age_s}))
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0.1)
    print("went on")
asyncio.run(main())
"""


@pytest.mark.parametrize(("age_s", "code", "said"), [(3600.0, 70, ""), (1.0, 0, "went on\n")])
def test_only_a_keeper_that_is_not_young_starts_over(age_s: float, code: int, said: str) -> None:
    command = [sys.executable, "-c", SCRIPT.format(age_s=age_s)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == code
    assert done.stdout == said
    assert "ZeroDivisionError" in done.stderr
