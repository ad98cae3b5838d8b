from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.cli.main import run as run_command
from holdfast.home import Home

sys.path.insert(0, str(Path(__file__).parent))
from tests.unit.cli import fake_keeper


@dataclass
class Done:
    code: int
    out: str
    err: str


class Cli:
    """Runs command lines in this process, in a home of its own."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = Home(home)
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        self._capsys.readouterr()
        code = run_command(["--home", str(self.home.path), *arguments])
        out, err = self._capsys.readouterr()
        return Done(code, out, err)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("HOLDFAST_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    home = Cli(tmp_path / "home", capsys)
    home.home.prepare()
    return home


@pytest.fixture
def keeper(cli: Cli) -> Iterator[fake_keeper.FakeKeeper]:
    with fake_keeper.serving(cli.home.api_socket) as fake:
        yield fake
