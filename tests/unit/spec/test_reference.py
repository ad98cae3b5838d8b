"""The reference page names every key with its default, and its examples are files that load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast import recipes
from holdfast.recipes import installed
from holdfast.spec.fields import BUILT_IN, FIELDS, RESERVED
from holdfast.spec.reading import RESERVED_TOP_LEVEL, TOP_LEVEL
from holdfast.spec.shown import shown

PAGE = Path(__file__).parents[3].joinpath("docs/reference/holdfast-yaml.md").read_text()
ROWS = dict(re.findall(r"^\| `([^`]+)` \|.*\| ([^|]*) \|$", PAGE, re.MULTILINE))


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_every_key_is_on_the_page_with_its_default(path: tuple[str, ...]) -> None:
    shown_there = ROWS[".".join(path)]
    if path not in BUILT_IN or path[0] in ("command", "working_dir", "user", "env_file"):
        return
    assert shown_there.strip("`") == shown(path, BUILT_IN[path].value)


def test_every_option_of_every_recipe_is_on_the_page() -> None:
    for name in recipes.names():
        for option in recipes.find(name).options:
            assert ROWS[f"{name}.{option.name}"] == option.default


def test_every_reserved_and_top_level_key_is_on_the_page() -> None:
    for key in (*TOP_LEVEL, *RESERVED_TOP_LEVEL, *(".".join(path) for path in RESERVED)):
        assert f"`{key}`" in PAGE


@pytest.mark.parametrize("text", re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
def test_every_example_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(installed, "folder_of_user", lambda name: str(tmp_path / name))
    monkeypatch.setattr(installed, "openclaw_script", lambda started: started)
    monkeypatch.setattr(installed, "hermes_environment", lambda started: str(tmp_path / "opt/hermes"))
    monkeypatch.setattr(installed, "program", lambda name: str(tmp_path / "opt/openclaw/bin" / name))
    script = tmp_path / "opt/openclaw/node_modules/openclaw/openclaw.mjs"
    for program in (script, tmp_path / "opt/openclaw/bin/node", tmp_path / "opt/hermes/bin/hermes"):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(mode=0o755)
    for name, included in (
        ("teams/a", "agents: {a: {template: t}}"),
        ("shared/templates", "templates: {t: {command: x}}"),
    ):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text(included)
    file = tmp_path / "holdfast.yaml"
    file.write_text(text.replace("/opt/", f"{tmp_path}/opt/"))
    assert recipes.load(file).agents
