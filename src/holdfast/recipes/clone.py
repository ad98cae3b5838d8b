"""The definition of a copy of an agent that was restored beside it, as text for a holdfast.yaml of its own.

Invariant: nothing in it leads back to the original's state: every path below one of its state paths is that of the
copy; no value of its environment is repeated, for some are secrets. The copy's channels are off where the recipe knows
how, and what it does not know is said in a comment. Pure. Called by the API.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from holdfast import recipes
from holdfast.spec.model import AgentSpec


def definition(spec: AgentSpec, name: str, where: Mapping[str, str], port: int) -> str:
    """`where`: the original's state paths, each with that of the copy; `port`: one that is free."""
    import yaml

    recipe = recipes.find(spec.recipe)
    options = recipe.clone_options(spec, port)
    block: dict[str, Any] = {"recipe": spec.recipe}
    if options is None:
        block["command"] = list(spec.command)
        if spec.working_dir:
            block["working_dir"] = spec.working_dir
        block["state"] = {"paths": list(where)}
    else:
        block[spec.recipe] = options
    block |= {"env": off} if (off := recipe.clone_env(spec)) else {}
    text = yaml.safe_dump({"version": 1, "agents": {name: moved(block, where)}}, sort_keys=False, allow_unicode=True)
    notes = [*recipe.clone_notes(spec), f"limits, env_file and the like: as {spec.name} has them in its own file"]
    return "".join(f"# {note}\n" for note in notes) + text


def moved(value: Any, where: Mapping[str, str]) -> Any:
    """The same with each path below a state path of the original's led to the copy's."""
    if isinstance(value, dict):
        return {key: moved(one, where) for key, one in value.items()}
    if isinstance(value, list):
        return [moved(one, where) for one in value]
    if not isinstance(value, str):
        return value
    for old, new in sorted(where.items(), key=lambda pair: -len(pair[0])):
        if value == old:
            return new
        if value.startswith(os.path.join(old, "")):
            return os.path.join(new, value[len(old) :].lstrip("/"))
    return value
