"""The JSON Schema for editors accepts what is read, refuses the usual slips, and is kept in docs/reference."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast import recipes
from holdfast.cli import schema as command
from holdfast.spec.fields import FIELDS, NOT_IN_DEFAULTS
from tests.unit.spec.bad_files import BAD
from tests.unit.spec.shape_check import KEYWORDS, mistakes

ROOT = Path(__file__).parents[3]
SCHEMA: dict[str, Any] = json.loads(command.text())
PAGES = [ROOT / "docs/reference/holdfast-yaml.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
EXAMPLES = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
] + [pytest.param(path.read_text(), id=path.stem) for path in sorted((ROOT / "examples").glob("**/*.yaml"))]
# Slips of form; what else is in the table (names, paths, circles, syntax) is for `holdfast check`.
SLIPS = (
    *("a top-level slip", "an unknown key", "a wrong version", "agents as a list", "alerts as a mapping"),
    *("a probe mapping without url", "too many replicas", "a number in quotes", "notify as text", "labels with a list"),
    *("a command in defaults", "a template in a template", "keys of later versions"),
)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_fits_the_schema(text: str) -> None:
    tree = yaml.safe_load(text)
    if isinstance(tree, dict) and "agents" in tree:
        assert mistakes(SCHEMA, tree) == []


@pytest.mark.parametrize("name", SLIPS)
def test_the_usual_slips_do_not_fit(name: str) -> None:
    text = next(text for one, text, _ in BAD if one == name)
    assert mistakes(SCHEMA, yaml.safe_load(text))


def test_every_key_is_there_with_its_meaning_and_its_reason() -> None:
    agent = SCHEMA["$defs"]["agent"]["properties"]
    for path, field in FIELDS.items():
        found = agent[path[0]]
        if len(path) == 2:
            found = next(one for one in (found, *found.get("anyOf", ())) if "properties" in one)["properties"][path[1]]
        assert field.means[1:] in found["description"], path
        assert field.why in found["description"], path


def test_recipes_and_their_options_are_there() -> None:
    agent = SCHEMA["$defs"]["agent"]["properties"]
    assert agent["recipe"]["enum"] == list(recipes.names())
    for name in recipes.names():
        for option in recipes.find(name).options:
            assert option.name in agent[name]["properties"]


def test_what_has_no_place_in_defaults_is_not_offered_there() -> None:
    assert not NOT_IN_DEFAULTS.intersection(SCHEMA["$defs"]["defaults"]["properties"])


def test_the_schema_is_plain_and_whole() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    todo: list[Any] = [SCHEMA]
    while todo:
        shape = todo.pop()
        assert set(shape) <= KEYWORDS, set(shape) - KEYWORDS
        for key in ("properties", "patternProperties", "$defs"):
            todo.extend(shape.get(key, {}).values())
        todo.extend(shape.get("anyOf", ()))
        single = [shape.get(key) for key in ("items", "additionalProperties", "propertyNames")]
        todo.extend(one for one in single if isinstance(one, dict))
        if "pattern" in shape:
            re.compile(shape["pattern"])


def test_the_file_in_the_reference_is_what_the_command_prints() -> None:
    shown = (ROOT / "docs/reference/holdfast.schema.json").read_text()
    assert shown == command.text(), "run: holdfast schema > docs/reference/holdfast.schema.json"
