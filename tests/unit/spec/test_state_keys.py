"""`state`: what is read, what is refused, and agents that would keep each other's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import recipes
from holdfast.errors import HoldfastError
from holdfast.spec.model import State


def _state(tmp_path: Path, text: str) -> State:
    file = tmp_path / "holdfast.yaml"
    file.write_text(f"agents: {{a: {{command: [x], state: {text}}}}}\n")
    return recipes.load(file).agents[0].state


def _problem(tmp_path: Path, agents: str) -> str:
    file = tmp_path / "holdfast.yaml"
    file.write_text(f"agents:\n  {agents}\n")
    with pytest.raises(HoldfastError) as caught:
        recipes.load(file)
    return str(caught.value.detail["problems"]).replace(f"{file}:", "")


def test_every_key_is_read(tmp_path: Path) -> None:
    text = "{paths: [data, /srv/x], exclude: [cache/, '*.tmp'], every: 5m, store: s3://bkt/p/, store_every: 1h, "
    text += "budget: 1GB, encrypt: false, capture: freeze}"
    assert _state(tmp_path, text) == State(
        paths=(str(tmp_path / "data"), "/srv/x"),
        exclude=("cache/", "*.tmp"),
        every_s=300.0,
        store="s3://bkt/p",
        store_every_s=3600.0,
        budget_bytes=1_000_000_000,
        encrypt=False,
        capture="freeze",
    )


def test_a_directory_may_be_the_second_place_and_off_is_none(tmp_path: Path) -> None:
    assert _state(tmp_path, "{paths: data, store: /mnt/other}").store == "/mnt/other"
    assert _state(tmp_path, "{paths: data, store: off, every: off}") == State(
        paths=(str(tmp_path / "data"),), every_s=None
    )
    assert _state(tmp_path, "off") == State()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{paths: /}", 'found "/", expected a directory of the agent\'s own'),
        ("{paths: /etc}", 'found "/etc", expected a directory of the agent\'s own'),
        ("{paths: [/srv/a, /srv/a/b]}", '"/srv/a/b" inside "/srv/a", expected paths that lie beside each other'),
        ("{paths: [/srv/a, /srv/a]}", "expected paths that lie beside each other"),
        ("{paths: d, exclude: ['/']}", "expected a pattern such as cache/ or *.tmp"),
        ("{paths: d, exclude: ['!keep']}", "did you mean keep"),
        ("{paths: d, store: 'ftp://x/y'}", 'a URL that begins with "ftp"'),
        ("{paths: d, store: 's3://'}", "expected a URL such as s3://BUCKET/PREFIX"),
        ("{paths: d, capture: stop}", 'found "stop", expected guard or freeze'),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, text: str, found: str) -> None:
    assert found in _problem(tmp_path, f"a: {{command: [x], state: {text}}}")


def test_what_is_said_of_state_without_any_paths_is_refused_and_defaults_may_say_it(tmp_path: Path) -> None:
    said = _problem(tmp_path, "a: {command: [x], state: {every: 5m}}")
    assert (
        said
        == "2: agents.a.state.paths: found nothing, expected the files and directories to keep, such as paths: [data]"
    )
    file = tmp_path / "holdfast.yaml"
    file.write_text(
        "defaults: {state: {every: 5m}}\nagents: {a: {command: [x]}, b: {command: [x], state: {paths: d}}}\n"
    )
    assert [one.state.every_s for one in recipes.load(file).agents] == [300.0, 300.0]


def test_credentials_in_a_url_are_refused_and_not_repeated(tmp_path: Path) -> None:
    said = _problem(tmp_path, "a: {command: [x], state: {paths: d, store: 's3://KEY:geheim@b/p'}}")
    assert "expected a URL without credentials" in said
    assert "geheim" not in said


def test_agents_cannot_keep_each_others_files(tmp_path: Path) -> None:
    said = _problem(tmp_path, "a: {command: [x], state: {paths: d}}\n  b: {command: [x], state: {paths: [e, d/f]}}")
    assert "3: agents.b.state.paths: found" in said
    assert "which agent a keeps as well" in said


def test_a_second_place_lies_outside_of_what_is_kept(tmp_path: Path) -> None:
    said = _problem(tmp_path, "a: {command: [x], state: {paths: d, store: d/copies}}")
    assert "2: agents.a.state.store: found" in said
    assert "which agent a keeps, expected a bucket's URL, or a directory on another disk" in said
    said = _problem(tmp_path, "a: {command: [x], state: {paths: d}}\n  b: {command: [x], state: {paths: e, store: d}}")
    assert "3: agents.b.state.store: found" in said
    assert _state(tmp_path, "{paths: data, store: data-copies}").store == str(tmp_path / "data-copies")


def test_replicas_keep_files_of_their_own(tmp_path: Path) -> None:
    assert "{agent} in a path stands for" in _problem(tmp_path, "a: {command: [x], replicas: 2, state: {paths: d}}")
    file = tmp_path / "holdfast.yaml"
    file.write_text("agents: {a: {command: [x], replicas: 2, state: {paths: 'd/{agent}'}}}\n")
    assert [one.state.paths for one in recipes.load(file).agents] == [
        (str(tmp_path / "d" / name),) for name in ("a-1", "a-2")
    ]
