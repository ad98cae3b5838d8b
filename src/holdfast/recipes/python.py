"""The recipe of a Python program.

    loop:
      recipe: python
      python: {venv: .venv, script: loop.py, args: [--fast]}      # or module: my_agent

What it knows: output must not wait in a buffer of the program's own (the last lines before a death would be lost, and
silence would mean nothing); a crash inside the interpreter should leave a stack; which exits come from a
missing module.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from holdfast.recipes import exits
from holdfast.recipes.process import ProcessRecipe
from holdfast.spec.model import AgentSpec
from holdfast.spec.recipe import Ask, Default, Finding, Given, Option, Path

_NO_MODULE = ("modulenotfounderror", "no module named")


class PythonRecipe(ProcessRecipe):
    name = "python"
    options: tuple[Option, ...] = (
        Option("venv", "path", "the virtual environment to run in", "the python3 on PATH"),
        Option("script", "path", "the file to run; or `module`", "required, or module"),
        Option("module", "text", "the module to run as with python -m", "required, or script"),
        Option("args", "words", "arguments of the program", "none"),
    )

    def defaults(self, ask: Ask) -> Given:
        venv, script, module = (ask.options.get(name) for name in ("venv", "script", "module"))
        values: dict[Path, Default] = {
            ("env", "PYTHONUNBUFFERED"): Default("1", "the last lines before a death are not lost in a buffer"),
            ("env", "PYTHONFAULTHANDLER"): Default("1", "a crash of the interpreter leaves its stack in the log"),
        }
        findings: list[Finding] = []
        python = os.path.join(venv, "bin", "python") if venv else shutil.which("python3") or ""
        if venv:
            values[("env", "VIRTUAL_ENV")] = Default(venv, "what `activate` would set")
        if venv and not os.path.isfile(python):
            expected = f"a virtual environment: python3 -m venv {venv}"
            findings.append(Finding(("python", "venv"), f"no {python}", expected))
        if not python:
            findings.append(Finding(("python", "venv"), "no python3 on PATH", "venv: DIR of a virtual environment"))
        if script and module:
            findings.append(Finding(("python", "module"), "script and module", "one of them"))
        elif not (script or module or ask.has_command) and not {"script", "module"} & ask.refused:
            findings.append(Finding(("python", "script"), "nothing", "script: FILE, or module: NAME"))
        elif script and not os.path.isfile(script):
            findings.append(Finding(("python", "script"), f"no {script}", "a file that exists"))
        if python and (script or module):
            run = ("-m", module) if module else (script or "",)
            command = (python, *run, *ask.options.get("args", ()))
            values[("command",)] = Default(command, "the interpreter of the virtual environment, nothing between")
        return Given(values=values, findings=tuple(findings), recipe_data={"venv": venv or ""})

    def explain_exit(self, spec: AgentSpec, code: int | None, signal: int | None, last_log_lines: Sequence[str]) -> str:
        missing = exits.last_with(last_log_lines, *_NO_MODULE) if code == 1 and "1" not in spec.exit_codes else ""
        if missing:
            venv = spec.recipe_data.get("venv")
            where = f"install it: {venv}/bin/pip install …" if venv else "install it, or name its venv"
            return exits.clause(f"exit 1: a module is missing ({where})", missing)
        return super().explain_exit(spec, code, signal, last_log_lines)
