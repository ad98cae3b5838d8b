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
from holdfast.spec.fields import FIELDS, GROUPS, RESERVED
from holdfast.spec.model import FleetSpec

_WORDS = sorted({part for path in (*FIELDS, *RESERVED) for part in path})
_TOP = ("version", "include", "defaults", "templates", "agents", "alerts", "node", "last_resort", "llm", "x-a")
_SCALARS = st.one_of(
    st.sampled_from(
        (
            *("", "~", "yes", "off", "none", "1", "0.5", "-1", "500M", "512Mi", "10s", "1h30m", "1:30", "2024-01-01"),
            *("a", "a b", "../x", "process", "openclaw", "hermes", "TERM", "SIGKILL", "78", "http://127.0.0.1:1/x"),
            *("[", "*a", "'", "&a b", "\0", "\n", "~/x", "./x"),
            *(
                "80%",
                "on",
                "04:00",
                "14:30",
                "Sun 04:00 UTC",
                "Mon-Fri 04:00 Europe/Berlin",
                "04:00 ..",
                "(",
                "a|*",
                "x{9999}",
            ),
            *(
                "udp://h:1",
                "unix:///x",
                "healthy",
                "service_healthy",
                "finished",
                "failing",
                "holdfast.yaml",
                "*.yaml",
                "**",
            ),
        )
    ),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
)
_INNER = (
    *(
        "url",
        "expect",
        "home",
        "path",
        "max_age",
        "command",
        "interval",
        "silence",
        "patterns",
        "pattern",
        "then",
        "count",
    ),
    *("within", "every", "grace", "wait", "windows", "length", "condition", "syslog", "loki", "otlp", "headers"),
)
_NAMES = st.one_of(st.sampled_from([*_WORDS, *_TOP, *_INNER, "openclaw", "hermes", "a", "b"]), _SCALARS)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=5)),
    max_leaves=20,
)
# A group with its own keys, so that values meet their readers more often than by chance.
_GROUP_KEYS = {name: [path[1] for path in FIELDS if path[0] == name and len(path) == 2] for name in GROUPS}
_GROUPS = st.sampled_from(sorted(_GROUP_KEYS)).flatmap(
    lambda name: st.dictionaries(st.sampled_from(_GROUP_KEYS[name]), _VALUES, max_size=4).map(lambda keys: {name: keys})
)
_AGENT = st.tuples(st.dictionaries(st.sampled_from([*_WORDS, "openclaw", "hermes"]), _VALUES, max_size=6), _GROUPS).map(
    lambda both: {**both[0], **both[1]}
)
_FILE = st.fixed_dictionaries(
    {"agents": st.dictionaries(st.sampled_from(("a", "b", "c-1", "C", "a/b")), _AGENT, max_size=4)},
    optional={
        "version": _SCALARS,
        "include": _VALUES,
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


@settings(max_examples=100, deadline=None)
@given(_FILE, _FILE)
def test_two_files_give_a_fleet_or_an_error(one: dict[str, object], two: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name, tree in (("holdfast.yaml", {**one, "include": ["two.yaml", "*.yaml"]}), ("two.yaml", two)):
            text = yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)
            (Path(directory) / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            loaded = recipes.read(Path(directory) / "holdfast.yaml")
        except HoldfastError:
            return
        assert len({agent.name for agent in loaded.fleet.agents}) == len(loaded.fleet.agents)
        recipes.effective(loaded)
