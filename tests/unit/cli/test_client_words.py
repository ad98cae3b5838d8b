"""Words that are no UTF-8 are refused in one sentence, before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import errors
from holdfast.cli.client import KeeperClient
from holdfast.errors import HoldfastError
from holdfast.home import Home

ODD = "notes\udcff"  # as Python reads the byte ff of an argument


def test_what_is_no_utf8_is_refused_as_a_mistake_of_the_command(tmp_path: Path) -> None:
    client = KeeperClient(Home(tmp_path))
    for ask in (
        lambda: client.look("/v1/agents/bot/state/log", {"path": ODD}, 1.0),
        lambda: client.get(f"/v1/agents/{ODD}"),
        lambda: client.post("/v1/agents/bot/snapshots", {"label": ODD}),
        lambda: list(client.messages("POST", "/v1/agents/bot/restore", {"path": ODD})),
        lambda: list(client.pieces("/v1/agents/bot/state/cat", {"path": ODD})),
    ):
        with pytest.raises(HoldfastError) as raised:
            ask()
        assert raised.value.kind is errors.USAGE
        assert "no UTF-8" in raised.value.summary
