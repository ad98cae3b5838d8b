"""Makes the command of a recipe's probe of function from its script.

The script is handed over as text, and only needs the standard library: the agent's user may be unable to read where
Holdfast is installed, or to run its interpreter. `PYTHON` stands for whichever Python that user can run; the keeper
puts it in place. Called by the recipes.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from holdfast.recipes.model import FunctionProbe

PYTHON = "@python"


@lru_cache(maxsize=32)
def function_probe(script: str, *arguments: str) -> FunctionProbe:
    """`script`: the name of a module beside this one, without `.py`."""
    text = Path(__file__).with_name(f"{script}.py").read_text()
    return FunctionProbe(argv=(PYTHON, "-I", "-S", "-c", text, *arguments))
