"""Whatever stands in the file: a fleet or a HoldfastError, never anything else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import recipes
from holdfast.errors import HoldfastError
from holdfast.spec.fields import FIELDS, RESERVED
from holdfast.spec.model import FleetSpec

_WORDS = sorted({part for path in (*FIELDS, *RESERVED) for part in path})
_TOP = ("version", "defaults", "templates", "agents", "alerts", "node", "last_resort", "llm", "x-a")
_SCALARS = st.one_of(
    st.sampled_from(
        (
            *("", "~", "yes", "off", "none", "1", "0.5", "-1", "500M", "512Mi", "10s", "1h30m", "1:30", "2024-01-01"),
            *("a", "a b", "../x", "process", "openclaw", "hermes", "TERM", "SIGKILL", "78", "http://127.0.0.1:1/x"),
            *("[", "*a", "'", "&a b", "\0", "\n", "~/x", "./x"),
        )
    ),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
)
_NAMES = st.one_of(st.sampled_from([*_WORDS, *_TOP, "openclaw", "hermes", "url", "expect", "a", "b", "home"]), _SCALARS)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=5)),
    max_leaves=20,
)
_AGENT = st.dictionaries(st.sampled_from([*_WORDS, "openclaw", "hermes"]), _VALUES, max_size=6)
_FILE = st.fixed_dictionaries(
    {"agents": st.dictionaries(st.sampled_from(("a", "b", "c-1", "C", "a/b")), _AGENT, max_size=4)},
    optional={
        "version": _SCALARS,
        "defaults": _AGENT,
        "templates": st.dictionaries(st.sampled_from(("w", "v")), _AGENT, max_size=2),
        "alerts": _VALUES,
        "last_resort": _VALUES,
    },
)


def _load(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "holdfast.yaml"
        file.write_bytes(data)
        try:
            loaded = recipes.read(file)
        except HoldfastError as error:
            refused: HoldfastError | None = error
        else:
            refused = None
        if refused:
            assert refused.exit_code == 2
            assert str(refused.detail.get("problems", "")).replace("\n", "").isprintable()
            assert len(str(refused.detail.get("problems", "")).split("\n")) <= int(str(refused.detail.get("count", 1)))
            return
        recipes.effective(loaded)
        recipes.check(file)
        encoded = msgspec.json.encode(loaded.fleet)
        assert msgspec.json.decode(encoded, type=FleetSpec) == loaded.fleet


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_fleet_or_an_error(data: bytes) -> None:
    _load(data)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abx:-[]{}#&*!|>'\"%@`,?<= \t\n01~.", max_size=60))
def test_any_punctuation_gives_a_fleet_or_an_error(text: str) -> None:
    _load(b"agents:\n  a:\n    " + text.encode())


@settings(max_examples=300, deadline=None)
@given(_FILE)
def test_any_values_in_the_right_places_give_a_fleet_or_an_error(tree: object) -> None:
    _load(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_any_tree_gives_a_fleet_or_an_error(tree: object) -> None:
    _load(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass"))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_env_file_gives_variables_or_an_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "holdfast.yaml"
        file.write_text("agents: {a: {command: [x], env_file: a.env}}")
        (Path(directory) / "a.env").write_bytes(data)
        try:
            fleet = recipes.load(file)
        except HoldfastError:
            return
        assert set(fleet.agents[0].secret_env) == set(fleet.agents[0].env)
