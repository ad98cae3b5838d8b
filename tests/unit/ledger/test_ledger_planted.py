"""Every planted bug is caught by the campaign; without one the campaign is silent (test_ledger_chain.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.ledger.campaign import CHECKS
from tests.unit.ledger.planted import PLANTED, Plant


@pytest.mark.parametrize("plant", PLANTED.values(), ids=lambda plant: plant.__name__)
def test_the_campaign_catches(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    caught = []
    for check in CHECKS:
        place = tmp_path / check.__name__
        place.mkdir()
        try:
            check(place)
        except Exception as error:
            caught.append((check.__name__, type(error).__name__))
            break
        except BaseException as error:
            if type(error).__name__ != "Failed":  # pytest.raises that saw nothing
                raise
            caught.append((check.__name__, "Failed"))
            break
    assert caught, "no promise noticed this bug"
    print(caught)
