"""Fixtures of the full tests: the installed agents, the fake model, progress on the terminal, no way to the internet.

These tests are collected everywhere and run only when asked for: `./dev test-full` or `pytest -m full tests/full`.
As root they leave the network for one of their own with nothing but loopback, once the agents are installed
(HOLDFAST_TEST_ONLINE=1 keeps the machine's network). HOLDFAST_TEST_KEEP=1 keeps the folders of a run.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.full.fake_llm import FakeLlm
from tests.full.fleet import Fleet
from tests.full.install import Installed, InstallFailed, install
from tests.full.loopback import leave_the_network

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "full" in (config.option.markexpr or ""):
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="real agents: run with ./dev test-full"))


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Print one line of progress past pytest's capturing."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"  · {text}", file=sys.stderr, flush=True)

    return line


@pytest.fixture(scope="session")
def installed(say: Callable[[str], None]) -> Installed:
    """The agents, installed if need be; from here on there is no network but loopback."""
    say("installing or checking the agents")
    try:
        found = install()
    except InstallFailed as error:
        pytest.skip(f"the real agents could not be installed here: {error}")
    if os.getuid() != 0 or os.environ.get("HOLDFAST_TEST_ONLINE"):
        say("the machine's own network is kept; the agents are configured for loopback only")
        return found
    try:
        leave_the_network()
    except OSError as error:
        say(f"no network namespace here ({error}); the agents are configured for loopback only")
    else:
        say("no network but loopback from here on")
    return found


@pytest.fixture(scope="module")
def llm(installed: Installed) -> Iterator[FakeLlm]:
    """The model server; started after the network was left, so that it listens in the new one."""
    with FakeLlm() as server:
        yield server


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest, say: Callable[[str], None]) -> Iterator[Fleet]:
    """One Holdfast for a whole module, in a folder that other users may enter; taken down at the end."""
    folder = Path(tempfile.mkdtemp(prefix="hf-full-", dir="/tmp"))
    folder.chmod(0o755)
    made = Fleet(folder, say)
    failed_before = request.session.testsfailed
    yield made
    keep = bool(os.environ.get("HOLDFAST_TEST_KEEP")) or request.session.testsfailed > failed_before
    made.close(keep)
    if keep:
        say(f"kept for inspection: {folder}")
