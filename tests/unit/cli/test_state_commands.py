"""Versions of state on the command line, through the real API, with scripted jobs behind it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.cli.client import KeeperClient
from holdfast.cli.state_view import snapshot_lines
from holdfast.state.answers import Deleted
from holdfast.worker.protocol import Fault, JobFailed
from tests.harness.state_keeper import NOW, StateKeeper, serving, snapshot

DIFFERENCES = {
    "a": "aaaa1111".ljust(32, "0"), "b": "", "added": 1, "changed": 30, "removed": 0,
    "changes": [
        {"path": "/srv/bot/\x1b[31mevil", "change": "added", "before": None, "after": 7},
        {"path": "/srv/bot/notes.md", "change": "changed", "before": 5, "after": 9, "text": "-old\n+new\x1b[0m"},
    ],
}  # fmt: skip


@pytest.fixture
def state(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[StateKeeper]:
    monkeypatch.setattr(time, "time", lambda: NOW)
    with serving(cli.home) as keeper:
        keeper.jobs["diff"] = [{"result": DIFFERENCES}]
        yield keeper


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)


# --- taking and listing ----------------------------------------------------------------------------------------------
def test_a_snapshot_is_named_with_the_command_that_comes_back_to_it(cli: Any, state: StateKeeper) -> None:
    state.jobs["snapshot"] = [
        {"progress": {"done": 5, "total": 10, "what": "files read"}},
        {"result": {"snapshot": snapshot("cccc4444", 4, 0.0, cause="manual", label="x", left_out=["/s: a socket"])}},
    ]
    done = cli("snapshot", "bot", "--label", "x")
    assert (done.code, state.last("snapshot")) == (0, {"cause": "manual", "label": "x"})
    assert "snapshot cccc44440000 holds 5,246 files, 461M; 16M stored" in done.out
    assert "left out: /s: a socket" in done.out
    assert "holdfast restore bot cccc44440000" in done.out
    answer = json.loads(cli("snapshot", "bot", "--json").out)
    assert (answer["agent"], answer["id"], answer["taken"]) == ("bot", "cccc4444".ljust(32, "0"), True)


def test_an_unchanged_state_points_to_the_snapshot_that_stands_for_it(cli: Any, state: StateKeeper) -> None:
    state.jobs["snapshot"] = [{"result": {"snapshot": None, "unchanged_since": "bbbb3333".ljust(32, "0")}}]
    assert "nothing changed since snapshot bbbb33330000" in cli("snapshot", "bot").out
    assert json.loads(cli("--json", "snapshot", "bot").out)["id"].startswith("bbbb3333")


def test_the_list_shows_what_is_special_and_warns(cli: Any, state: StateKeeper) -> None:
    out = cli("snapshots", "bot").out
    assert "aaaa22220000" in out
    assert "known-good" in out
    assert "before the cleanup" in out
    assert "\x1b" not in out
    assert "warning: The only copy is on the same disk." in out
    assert "holdfast restore bot bbbb33330000 --to NEW_DIRECTORY" in out


def test_a_narrow_list_still_says_how_old_each_snapshot_is() -> None:
    rows = [{"id": "aaaa1111".ljust(32, "0"), "at": NOW - 60.0, "cause": "timer", "label": "before the cleanup"}]
    lines = snapshot_lines(rows, NOW, 40)
    assert max(map(len, lines)) <= 40
    assert lines[0].split()[:1] == ["SNAPSHOT"]
    assert "AGE" in lines[0]
    assert "1m00s" in lines[1]
    assert "before the cleanup" in lines[2]


def test_the_json_list_has_the_documented_shape_and_can_be_bounded(cli: Any, state: StateKeeper) -> None:
    rows = json.loads(cli("snapshots", "bot", "--json").out)["snapshots"]
    keys = {"id", "at", "cause", "label", "consistency", "files", "bytes", "bytes_new", "pinned", "remote"}
    assert len(rows) == 3
    assert all(keys <= row.keys() for row in rows)
    assert len(json.loads(cli("snapshots", "bot", "-n", "1", "--json").out)["snapshots"]) == 1
    assert len(json.loads(cli("snapshots", "bot", "--since", "70 min ago", "--json").out)["snapshots"]) == 2
    cli("snapshots", "bot", "--deleted")
    assert state.last("snapshots") == {"all": True}


# --- restoring -------------------------------------------------------------------------------------------------------
def restored(args: dict[str, Any]) -> list[Any]:
    done = {
        "agent": "bot", "snapshot": args["snapshot"], "at": NOW - 3600, "files": 5246, "bytes": 440_000_000,
        "took_s": 4.2, "before": "" if args.get("to") else "dddd5555".ljust(32, "0"), "to": args.get("to") or "",
        "path": args["path"] or "", "phase": "" if args.get("to") else "healthy", "warnings": [],
    }  # fmt: skip
    return [{"progress": {"done": 1, "total": 2, "what": "checking"}}, {"result": done}]


def test_a_restore_says_what_it_chose_what_goes_and_how_to_take_it_back(
    cli: Any, state: StateKeeper, terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.jobs["restore"] = restored
    monkeypatch.setattr("click.confirm", lambda *_, **__: True)
    done = cli("restore", "bot", "--at", "50 min ago")
    assert done.code == 0, done.err
    assert state.last("restore") == {"snapshot": "aaaa2222".ljust(32, "0"), "path": None}
    for words in (
        "snapshot aaaa22220000",
        "(1h00m ago)",
        "10m00s before it",
        "30 changed, 1 new",
        "+ /srv/bot/evil",
        "… and 29 more",
        "kept as a snapshot first",
        "its state is that of snapshot aaaa22220000",
        "take this back with: holdfast restore bot dddd55550000",
    ):
        assert words in done.out, words
    assert "\x1b" not in done.out


def test_what_takes_the_restore_of_one_path_back_is_about_that_path(cli: Any, state: StateKeeper) -> None:
    state.jobs["restore"] = restored
    done = cli("restore", "bot", "known-good", "--path", "/srv/bot/my notes", "--yes")
    assert "take this back with: holdfast restore bot dddd55550000 --path '/srv/bot/my notes'" in done.out


def test_without_a_terminal_and_without_yes_nothing_is_restored(cli: Any, state: StateKeeper) -> None:
    for arguments in (("restore", "bot"), ("--json", "restore", "bot", "known-good")):
        done = cli(*arguments)
        assert done.code == 2
        assert "--yes" in done.err
    assert not [job for job, _, _ in state.asked if job == "restore"]


def test_a_no_changes_nothing(cli: Any, state: StateKeeper, terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    done = cli("restore", "bot")
    assert (done.code, "nothing was changed" in done.err) == (1, True)
    assert not [job for job, _, _ in state.asked if job == "restore"]


def test_a_copy_is_written_beside_and_its_definition_is_alone_on_standard_output(
    cli: Any, state: StateKeeper, tmp_path: Path
) -> None:
    spec, copy = state.agents["bot"].spec, str(tmp_path / "copy")
    spec.command, spec.working_dir = ("/bin/bot", "/srv/bot/db"), "/"
    built = {"short": "aaaa", "at": NOW, "notes": [], "where": {"/srv/bot": f"{copy}/bot"}}
    state.jobs["restore-build"] = [{"result": built}]
    done = cli("restore", "bot", "--to", copy, "--as", "bot-copy")
    assert done.code == 0, done.err
    defined = yaml.safe_load(done.out)["agents"]["bot-copy"]
    assert defined["command"] == ["/bin/bot", f"{copy}/bot/db"]
    assert "does not know how bot is kept from its channels" in done.out.splitlines()[0]
    assert "is in" in done.err
    assert cli("restore", "bot", "--as", "bot-copy").code == 2
    assert "there is an agent bot already" in cli("restore", "bot", "--to", f"{copy}2", "--as", "bot").err


def test_looking_into_a_directory_never_asks(cli: Any, state: StateKeeper, tmp_path: Path) -> None:
    state.jobs["restore-build"] = [{"result": {"short": "aaaa", "at": NOW, "notes": ["a socket was left out"]}}]
    look = str(tmp_path / "look")
    done = cli("restore", "bot", "--at", "3 hours ago", "--path", "notes.md", "--to", look)
    assert done.code == 0, done.err
    whole = "aaaa1111".ljust(32, "0")
    assert state.last("restore-build") == {"snapshot": whole, "path": "/srv/bot/notes.md", "to": look}
    assert "no snapshot is that old: this is the oldest, 1h00m later than asked" in done.out
    assert "the agent and its files are not touched" in done.out
    assert "warning: a socket was left out" in done.out
    assert not [job for job, _, _ in state.asked if job in ("restore", "diff")]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("restore", "bot", "aaaa", "--yes"), 2, "2 snapshots begin with aaaa"),
        (("restore", "bot", "ffff", "--yes"), 4, "bot has no snapshot ffff"),
        (("restore", "nobody", "--yes"), 4, "there is no agent nobody"),
        (("restore", "bot", "--at", "soon"), 2, "'soon' is no time; expected 10m"),
        (("restore", "bot", "aaaa1", "--at", "10m"), 2, "not both"),
        (("restore", "bot", "--to", "/"), 2, "there is something in it already"),
        (("state", "rm", "bot", "yesterday"), 2, "is no snapshot's id"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(
    cli: Any, state: StateKeeper, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = cli(*arguments)
    assert (done.code, words in done.err) == (code, True), done.err
    assert not [job for job, _, _ in state.asked if job not in ("snapshots", "diff")]


def test_a_restore_that_fails_under_way_keeps_its_own_error(cli: Any, state: StateKeeper) -> None:
    failed = {"kind": "HF6024", "detail": {"reason": "a block is damaged"}}
    state.jobs["restore"] = [{"progress": {"done": 1, "total": 2, "what": "checking"}}, {"error": failed}]
    done = cli("restore", "bot", "--yes", "--json")
    assert (done.code, json.loads(done.err)["error"]["code"]) == (1, "HF6024")
    assert "Live files are as they were" in done.err
    assert state.finished[-1] == "restore"


def test_a_dry_run_only_shows(cli: Any, state: StateKeeper) -> None:
    plan = json.loads(cli("restore", "bot", "--dry-run", "--json").out)
    assert (plan["dry_run"], plan["snapshot"]["id"][:8], plan["good"]["id"][:8]) == (True, "bbbb3333", "aaaa2222")
    out = cli("restore", "bot", "--path", "my notes", "--dry-run").out  # `newest` may be another one by then
    assert "nothing was changed; do it with:  holdfast restore bot bbbb33330000 --path 'my notes'" in out


# --- history and contents --------------------------------------------------------------------------------------------
def test_the_history_of_a_file_ends_with_how_to_read_it(cli: Any, state: StateKeeper) -> None:
    versions = [
        {"snapshot": "bbbb3333".ljust(32, "0"), "at": NOW - 60, "change": "removed"},
        {"snapshot": "aaaa2222".ljust(32, "0"), "at": NOW - 3600, "change": "changed", "size": 2048},
    ]
    state.jobs["log"] = [{"result": {"path": "/srv/bot/notes.md", "versions": versions}}]
    out = cli("state", "log", "bot", "notes.md").out
    assert "holdfast state cat bot aaaa22220000 /srv/bot/notes.md" in out
    assert state.last("log") == {"path": "notes.md"}
    state.jobs["log"] = [JobFailed(Fault.NOT_FOUND, "no such path")]
    done = cli("state", "log", "bot", "other")
    assert (done.code, "other is in no snapshot that was asked for" in done.err) == (4, True)
    versions = [{"snapshot": "aaaa2222".ljust(32, "0"), "at": NOW - 3600, "change": "changed"}]
    state.jobs["log"] = [{"result": {"path": "/srv/bot/my notes", "versions": versions}}]
    out = cli("state", "log", "bot", "my notes").out  # a directory cannot be printed
    assert "holdfast restore bot aaaa22220000 --path '/srv/bot/my notes' --to NEW_DIRECTORY" in out


def test_differences_are_shown_without_the_agents_escape_codes(cli: Any, state: StateKeeper) -> None:
    done = cli("state", "diff", "bot", "known-good")
    assert state.last("diff") == {"a": "aaaa2222".ljust(32, "0"), "b": None, "path": None}
    assert "30 changed, 1 new" in done.out
    assert "+new" in done.out
    assert "\x1b" not in done.out
    cli("state", "diff", "bot", "aaaa1", "10s", "--path", "memory")
    assert state.last("diff")["b"] == "bbbb3333".ljust(32, "0")


def test_a_file_comes_out_byte_for_byte(cli: Any, state: StateKeeper) -> None:
    data = bytes(range(256)) * 700
    state.jobs["cat"] = [{"chunk": data[:1000]}, {"chunk": data[1000:]}, {"result": {}}]
    pieces = KeeperClient(cli.home).pieces("/v1/agents/bot/state/cat", {"path": "x", "snapshot": "bbbb"})
    assert b"".join(pieces) == data
    assert state.last("cat") == {"snapshot": "bbbb3333".ljust(32, "0"), "path": "x"}


def test_bytes_that_end_too_early_are_an_error_and_leave_no_file(cli: Any, state: StateKeeper, tmp_path: Path) -> None:
    state.jobs["export"] = [{"chunk": b"x" * 70_000}, JobFailed(Fault.DAMAGED, "pack 12")]
    done = cli("state", "export", "bot", "-o", str(tmp_path / "bot.tar"))
    assert (done.code, "HF2057" in done.err) == (1, True)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("bot.tar")]
    state.jobs["export"] = [{"chunk": b"x" * 70_000}, {"result": {}}]
    assert cli("state", "export", "bot", "-o", str(tmp_path / "bot.tar")).code == 0
    assert (tmp_path / "bot.tar").stat().st_size == 70_000
    assert cli("state", "export", "bot", "-o", str(tmp_path / "bot.tar")).code == 2


def test_bytes_that_are_no_text_stay_away_from_a_terminal(
    cli: Any, state: StateKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.cli.state_content._is_terminal", lambda: True)
    state.jobs["cat"] = [{"chunk": b"SQLite format 3\0"}, {"result": {}}]
    done = cli("state", "cat", "bot", "newest", "state.db")
    assert (done.code, "--force" in done.err) == (2, True)
    state.jobs["cat"] = [{"chunk": "grün\n\x1b[2J".encode()}, {"chunk": b"end"}, {"result": {}}]
    assert cli("state", "cat", "bot", "newest", "notes").out == "grün\n\\x1b[2Jend\n"
    assert cli("state", "export", "bot").code == 2


# --- upkeep ----------------------------------------------------------------------------------------------------------
def test_a_check_that_finds_damage_fails_and_names_it(cli: Any, state: StateKeeper) -> None:
    fault = {"snapshot": "aaaa1111".ljust(32, "0"), "path": "/srv/bot/state.db", "reason": "a block is missing"}
    state.jobs["verify"] = [{"result": {"snapshots": 3, "restorable": 2, "faults": [fault]}}]
    done = cli("state", "verify", "bot", "--all")
    assert (done.code, state.last("verify")) == (1, {"all": True})
    assert "1 NOT restorable whole" in done.out
    assert "aaaa11110000 /srv/bot/state.db: a block is missing" in done.out
    state.jobs["verify"] = [{"result": {"snapshots": 3, "restorable": 3, "faults": []}}]
    assert cli("state", "verify", "bot").code == 0
    assert "bot: 3 snapshots checked" in cli("state", "verify").out  # everybody


def test_costs_are_told_in_words(cli: Any, state: StateKeeper) -> None:
    usage = {"snapshots": 1440, "stored_bytes": 600_000_000, "logical_bytes": 600 * 10**9, "budget_bytes": 10 * 10**9}
    state.jobs["du"] = [{"result": usage}]
    out = cli("state", "du", "bot").out
    assert "1,440 snapshots in 600M" in out
    assert "1,000 times less" in out
    assert "6% used" in out
    assert json.loads(cli("state", "du", "bot", "--json").out)["agents"]["bot"]["snapshots"] == 1440


def test_collections_say_what_they_free_and_what_waits(cli: Any, state: StateKeeper) -> None:
    state.jobs["gc"] = [{"result": {"dry_run": True, "freed_bytes": 10**6, "waiting_bytes": 2 * 10**6, "next_at": NOW}}]
    done = cli("state", "gc", "bot", "--dry-run")
    assert "1M would be freed" in done.out
    assert "2M wait" in done.out
    state.jobs["gc"] = [{"result": {"dry_run": False, "refused": "a manifest cannot be read"}}]
    assert "nothing was deleted: a manifest cannot be read" in cli("state", "gc", "bot").out


def test_a_deleted_snapshot_is_told_with_the_way_back(cli: Any, state: StateKeeper) -> None:
    whole = "aaaa1111".ljust(32, "0")
    state.jobs["delete-snapshot"] = [{"result": {"id": whole, "until": NOW + 604_800}}]
    done = cli("state", "rm", "bot", "aaaa1")
    assert (done.code, state.last("delete-snapshot")) == (0, {"snapshot": whole})
    assert "holdfast undelete bot aaaa11110000" in done.out
    assert cli("undelete", "bot", "aaaa1").code == 4  # it is not deleted
    state.rows[0]["deleted_until"] = NOW + 604_800
    state.jobs["undelete-snapshot"] = [{"result": {"id": whole}}]
    assert "holdfast restore bot aaaa11110000" in cli("undelete", "bot", "aaaa1").out


def test_pins_have_a_reason(cli: Any, state: StateKeeper) -> None:
    state.jobs["pin"] = [{"result": {"id": "bbbb3333".ljust(32, "0"), "pins": ["before-launch"]}}]
    assert "is kept: before-launch" in cli("state", "pin", "bot", "bbbb", "--why", "before-launch").out
    assert state.last("pin") == {"snapshot": "bbbb3333".ljust(32, "0"), "why": "before-launch", "pinned": True}
    assert cli("state", "pin", "bot", "bbbb", "--why", "../x").code == 2


def test_the_recovery_key_is_printed_and_stays_the_same(cli: Any) -> None:
    first = cli("state", "key")
    assert (first.code, len(first.out.strip())) == (0, 64)
    assert json.loads(cli("state", "key", "--json").out)["key"] == first.out.strip()


# --- out of the fleet and back ---------------------------------------------------------------------------------------
def test_a_removal_is_agreed_to_and_tells_the_way_back(cli: Any, state: StateKeeper) -> None:
    done = cli("rm", "bot")
    assert (done.code, "--yes" in done.err) == (2, True)
    assert not [job for job, _, _ in state.asked if job == "remove"]
    state.jobs["remove"] = [
        {"progress": {"done": 1, "total": 0, "what": "bytes read"}},
        {"result": {"agent": "bot", "until": NOW, "snapshots": 12, "paths": ["/srv/bot"], "trouble": ["no last one"]}},
    ]
    done = cli("rm", "bot", "--yes")
    assert done.code == 0, done.err
    for words in (
        "12 snapshots kept",
        "warning: no last one",
        "its files stay in /srv/bot",
        "holdfast undelete bot",
        "/f.yaml may still",
    ):
        assert words in done.out, words
    assert cli("rm", "--yes").code == 2
    assert cli("rm", "nobody", "--yes").code == 4


def test_a_removed_agent_comes_back_and_says_what_is_missing(cli: Any, state: StateKeeper) -> None:
    assert "no removed agent" in cli("undelete").out
    assert cli("undelete", "bot").code == 4
    state.gone = [Deleted(agent="bot", removed_at=NOW - 60, until=NOW + 86_400, paths=("/srv/bot",), snapshots=12)]
    assert "1m00s ago" in cli("undelete").out
    assert json.loads(cli("undelete", "--json").out)["agents"][0]["agent"] == "bot"
    assert "back in the fleet with 12 snapshots (healthy)" in cli("undelete", "bot").out
    assert "(stopped)" in cli("undelete", "bot", "--stopped").out


def test_an_agent_whose_files_are_gone_is_not_let_loose_on_empty_directories(cli: Any, state: StateKeeper) -> None:
    state.gone, state.missing = [Deleted(agent="bot", removed_at=NOW, until=NOW)], ["/srv/bot"]
    state.jobs["restore"] = lambda args: restored({**args, "to": None, "path": None})
    done = cli("undelete", "bot")
    assert "(healthy)" in done.out
    assert "they are those of snapshot bbbbbbbbbbbb" in done.out
    assert state.last("restore") == {"snapshot": "b" * 32}
    assert "(stopped)" in cli("undelete", "bot", "--stopped").out


def test_where_only_some_files_are_gone_nothing_is_replaced_without_a_word(cli: Any, state: StateKeeper) -> None:
    state.gone, state.missing = [Deleted(agent="bot", removed_at=NOW, until=NOW)], ["/srv/gone"]
    state.agents["bot"].spec.state.paths = ("/srv/bot", "/srv/gone")
    done = cli("undelete", "bot")
    assert "(stopped)" in done.out
    assert "not there any more, so it was not started: /srv/gone" in done.out
    assert "holdfast restore bot" in done.out


def test_a_removed_agent_can_be_looked_at_and_restored(cli: Any, state: StateKeeper, tmp_path: Path) -> None:
    state.gone = [Deleted(agent="bot", removed_at=NOW, until=NOW, paths=("/srv/bot",))]
    state.jobs["restore-build"] = [{"result": {"short": "aaaa", "at": NOW, "notes": []}}]
    state.agents.clear()
    done = cli("restore", "bot", "known-good", "--to", str(tmp_path / "look"))
    assert done.code == 0, done.err
    assert state.last("snapshots") == {"all": True}
    assert "it is taken back into the fleet" in cli("restore", "bot", "--dry-run").out
    state.jobs["cat"] = [{"chunk": b"as it was"}, {"result": {}}]
    assert "as it was" in cli("state", "cat", "bot", "newest", "x").out
    for arguments in (("snapshot", "bot"), ("state", "diff", "bot", "aaaa1111")):
        done = cli(*arguments)
        assert done.code == 2
        assert "holdfast undelete bot" in done.err


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault.FULL, "HF4001", "full"),
        (Fault.BUSY, "HF2056", "under way"),
        (Fault.INTERRUPTED, "HF2056", "repeat the command"),
        (Fault.DAMAGED, "HF2058", "met damage: pack 12"),
        (Fault.REFUSED, "HF3008", "bot: pack 12"),
        (Fault.FAILED, "HF2056", "pack 12"),
    ],
)
def test_every_way_a_job_fails_is_an_error_with_words(
    cli: Any, state: StateKeeper, fault: Fault, code: str, words: str
) -> None:
    state.jobs["du"] = state.jobs["verify"] = [JobFailed(fault, "pack 12")]
    for arguments in (("state", "du", "bot"), ("state", "verify", "bot")):
        done = cli(*arguments)
        assert code in done.err, done.err
        assert words in done.err
