"""The recipes python and node: commands, environment, and what is said when something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import recipes
from holdfast.errors import HoldfastError
from holdfast.spec.model import AgentSpec


def _load(tmp_path: Path, body: str) -> AgentSpec:
    for program in ("venv/bin/python", "bin/node"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).touch(mode=0o755)
    for script in ("loop.py", "bot.mjs"):
        (tmp_path / script).touch()
    file = tmp_path / "holdfast.yaml"
    file.write_text(f"agents:\n  a:\n{body}")
    return recipes.load(file).agents[0]


def test_python_runs_the_script_with_the_interpreter_of_its_environment(tmp_path: Path) -> None:
    agent = _load(tmp_path, "    recipe: python\n    python: {venv: venv, script: loop.py, args: [--fast, 3]}\n")
    assert agent.command == (f"{tmp_path}/venv/bin/python", f"{tmp_path}/loop.py", "--fast", "3")
    assert agent.env == {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "VIRTUAL_ENV": f"{tmp_path}/venv"}


def test_python_runs_a_module(tmp_path: Path) -> None:
    agent = _load(tmp_path, "    recipe: python\n    python: {venv: venv, module: my.agent}\n")
    assert agent.command[1:] == ("-m", "my.agent")


def test_node_gets_a_heap_below_the_memory_limit(tmp_path: Path) -> None:
    body = "    recipe: node\n    node: {script: bot.mjs, node: bin/node}\n    limits: {memory: 1000M}\n"
    agent = _load(tmp_path, body)
    assert agent.command == (f"{tmp_path}/bin/node", "--max-old-space-size=715", f"{tmp_path}/bot.mjs")
    assert agent.env["NODE_ENV"] == "production"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("recipe: python\n    python: {venv: nowhere, script: loop.py}", "python3 -m venv"),
        ("recipe: python\n    python: {venv: venv}", "script: FILE, or module: NAME"),
        ("recipe: python\n    python: {venv: venv, script: loop.py, module: m}", "one of them"),
        ("recipe: python\n    python: {venv: venv, script: gone.py}", "a file that exists"),
        ("recipe: node\n    node: {node: bin/node}", "script: FILE"),
        ("recipe: node\n    node: {node: gone, script: bot.mjs}", "the path of a Node program"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        _load(tmp_path, f"    {body}\n")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "line", "expected"),
    [
        ("python", "ModuleNotFoundError: No module named 'httpx'", "a module is missing"),
        ("node", "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'ws'", "a module is missing"),
        ("python", "all is well", "ended with a general error"),
    ],
)
def test_a_missing_module_is_named(recipe: str, line: str, expected: str) -> None:
    spec = AgentSpec(name="a", command=("x",), working_dir="/", recipe=recipe)
    assert expected in recipes.find(recipe).explain_exit(spec, 1, None, [line])
