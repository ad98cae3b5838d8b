"""Remembering: a checkpoint, the ledger behind it, or the ledger alone give the same memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from holdfast.alerts.hook import Alert
from holdfast.alerts.outbox import Waiting
from holdfast.healing.model import Ladder, Phase, Tier
from holdfast.home import Home
from holdfast.incidents.model import Incident, Outcome
from holdfast.keeper import recall
from holdfast.keeper.agent import Memory, pack_ladder, unpack_ladder
from holdfast.keeper.main import remember
from holdfast.keeper.recall import Recalled
from holdfast.keeper.telling.cases import case_body
from holdfast.keeper.telling.views import Death
from holdfast.ledger.chain import Ledger
from tests.harness.manual_clock import ManualClock

LADDER = Ladder(phase=Phase.RECOVERING, tier=Tier.RESTART, instance=2, restarts_mono=(5.0,), incident=1, cause="died")
INCIDENT = Incident(id="20261121-aa", agent="one", number=1, cause="died", opened_at=1e9, caught_s=0.1)
DEATH = Death(at=1e9, instance=1, exit="exit 1", cause="", lived_s=3.0)


def write_story(ledger: Ledger) -> None:
    def say(kind: str, agent: str, **body: Any) -> None:
        ledger.append(kind, agent, {"text": kind, **body}, actor="keeper")

    waiting = Waiting(
        id="20261121-aa",
        alert=Alert(kind="alert", agent="one", title="t", text="x", at=1.0),
        raised_at=1.0,
        next_at=1.0,
    )
    say("keeper.started", "", boot_id="boot-1", down=False)
    say("fleet.applied", "", digest="abc")
    say("agent.spawned", "one", ladder=pack_ladder(Ladder(instance=1, running=True)), init_seq=3)
    say(
        "agent.exited", "one", ladder=pack_ladder(LADDER), init_seq=4, case=case_body(INCIDENT),
        death=msgspec.to_builtins(DEATH),
    )  # fmt: skip
    say("ladder.timer", "one", ladder=pack_ladder(LADDER), pod=2)
    say("alert.raised", "one", waiting=msgspec.to_builtins(waiting))
    say("alert.tested", "", tested="k1,k2")
    say("agent.spawned", "two", ladder=pack_ladder(Ladder(instance=1)), init_seq=9)
    say("agent.forgotten", "two", forgotten=True)
    say("of a later version", "one", death="what is this")


def told(tmp_path: Path) -> Ledger:
    (tmp_path / "home.id").write_text("0123abcd\n")
    ledger = Ledger.open(tmp_path / "ledger", ManualClock())
    write_story(ledger)
    return ledger


def test_the_ledger_alone_gives_everything_back(tmp_path: Path) -> None:
    ledger = told(tmp_path)
    found = Recalled()
    assert recall.replay(found, ledger.records()) == 10
    assert found.agents["one"].ladder == LADDER
    assert found.agents["one"].pod == 2
    assert found.agents["one"].deaths == (DEATH,)
    assert (found.init_seq, found.boot_id, found.tested, found.fleet_digest) == (9, "boot-1", "k1,k2", "abc")
    assert set(found.agents) == {"one"}
    assert set(found.waiting) == {"20261121-aa"}
    assert found.open["one"].cause == "died"
    assert "agent.exited" in [moment.text for moment in found.open["one"].timeline]
    assert found.skipped == 1


def test_a_closed_incident_is_no_longer_open(tmp_path: Path) -> None:
    ledger = told(tmp_path)
    closed = msgspec.structs.replace(INCIDENT, outcome=Outcome.RECOVERED, closed_at=2e9, restored_s=1.5)
    ledger.append("ladder.timer", "one", {"text": "recovered", "case": case_body(closed)}, actor="keeper")
    ledger.append("alert.done", "one", {"text": "done", "delivered": "20261121-aa"}, actor="keeper")
    found = Recalled()
    recall.replay(found, ledger.records())
    assert found.open == {}
    assert found.incidents["20261121-aa"].restored_s == 1.5
    assert found.waiting == {}


def test_a_checkpoint_and_the_records_behind_it_give_the_same(tmp_path: Path) -> None:
    ledger = told(tmp_path)
    whole = Recalled()
    recall.replay(whole, ledger.records())
    half = Recalled()
    recall.replay(half, (record for record in ledger.records() if record.seq <= 4))
    items = {("agent", name): msgspec.json.encode(memory) for name, memory in half.agents.items()}
    items |= {("incident", key): msgspec.json.encode(incident) for key, incident in half.incidents.items()}
    items |= {
        ("meta", "init_seq"): str(half.init_seq).encode(),
        ("meta", "boot_id"): half.boot_id.encode(),
        ("meta", "fleet_digest"): half.fleet_digest.encode(),
        ("meta", "ledger_head"): b"4:00",
    }
    again = recall.from_items(items)
    recall.replay(again, ledger.records(again.seq))
    assert again.agents == whole.agents
    assert again.incidents == whole.incidents
    assert (again.init_seq, again.tested, again.seq) == (whole.init_seq, whole.tested, whole.seq)


def test_a_ladder_survives_the_ledger_unchanged() -> None:
    for ladder in (Ladder(), LADDER, Ladder(wanted=False, phase=Phase.STOPPED), Ladder(pending=Tier.ALERT)):
        assert unpack_ladder(msgspec.json.decode(msgspec.json.encode(pack_ladder(ladder)))) == ladder
    assert pack_ladder(Ladder()) == {}


def test_a_memory_survives_the_store_unchanged() -> None:
    memory = Memory(ladder=LADDER, deaths=(DEATH,), pod=3, start_cpu_s=1.5, defined="d")
    assert msgspec.json.decode(msgspec.json.encode(memory), type=Memory) == memory


def test_a_checkpoint_that_lags_behind_the_ledger_is_written_whole(tmp_path: Path) -> None:
    ledger = told(tmp_path)
    recalled = remember(Home(tmp_path), ledger)
    assert recalled.store is not None
    assert recalled.store.outdated
    recalled.store.put("meta", "ledger_head", ledger.head.text.encode())
    assert recalled.store.flush()
    again = remember(Home(tmp_path), ledger)
    assert again.store is not None
    assert not again.store.outdated


def test_a_death_that_was_explained_later_replaces_the_first_words() -> None:
    recalled = Recalled()
    told = msgspec.structs.replace(DEATH, exit="exit 1: port 80 is held by process 7 (x), not by the agent")
    for number, body in enumerate(({"death": msgspec.to_builtins(DEATH)}, {"explained": msgspec.to_builtins(told)}), 1):
        recall._apply_to_agent(recalled, SimpleNamespace(agent="one", at=1e9, seq=number), body)  # type: ignore[arg-type]
    assert recalled.agents["one"].deaths == (told,)
