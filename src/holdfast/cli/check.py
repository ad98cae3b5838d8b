"""`holdfast check`: is the file right, and what does each key mean for each agent. Needs no keeper, changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.session import Command, Session, pass_session
from holdfast.errors import HoldfastError
from holdfast.sizes import counted

if TYPE_CHECKING:
    from holdfast.recipes import Effective, Problem

EXIT_BAD_FILE = 2
VALUE_MAX_CHARS = 60  # a longer value is cut in the table; --json has it whole


@click.command(
    cls=Command, examples=["holdfast check", "holdfast check -f fleet.yaml --explain", "holdfast check --json"]
)
@click.option("-f", "--file", "file", metavar="FILE", help="The file; ./holdfast.yaml otherwise.")
@click.option("--explain", is_flag=True, help="Print every setting of node and agents, where it comes from, and why.")
@pass_session
def check(session: Session, file: str | None, explain: bool) -> int:
    """Check a file: every mistake at once, as FILE:LINE: field: found, expected, did you mean.

    Also looks whether users, directories and programs named in it exist here. Exit code 2 when something is wrong,
    0 when there are only warnings.
    """
    from holdfast import recipes
    from holdfast.cli.reading import SPEC_FILE_NAME

    path = file if file is not None else SPEC_FILE_NAME
    try:
        doubts = recipes.check(Path(path))
        loaded = recipes.read(Path(path))
    except HoldfastError as error:
        problems = error.detail.get("items")
        if not (session.as_json and isinstance(problems, tuple)):
            raise
        session.answer({"file": path, "ok": False, "problems": [problem_dict(one) for one in problems]})
        return EXIT_BAD_FILE
    doubts = list(dict.fromkeys([*loaded.warnings, *doubts]))
    rows = recipes.effective(loaded) if explain else []
    wrong = sum(doubt.severity == "error" for doubt in doubts)
    code = EXIT_BAD_FILE if wrong else 0
    if session.as_json:
        answer: dict[str, Any] = {"file": path, "ok": not wrong, "problems": [problem_dict(one) for one in doubts]}
        if explain:
            answer["settings"] = [setting_dict(row) for row in rows]
        session.answer(answer)
        return code
    for doubt in doubts:
        click.echo(f"{doubt.severity}: {doubt.text}")
    if explain:
        click.echo("\n".join(explain_lines(rows)))
    count = len(loaded.fleet.agents)
    verdict = counted(wrong, "error") if wrong else "ok"
    click.echo(f"{path}: {verdict}, {counted(count, 'agent')}")
    return code


def problem_dict(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "field": problem.field,
        "found": problem.found,
        "expected": problem.expected,
        "did_you_mean": problem.meant or None,
        "severity": problem.severity,
        "text": problem.text,
    }


def setting_dict(row: Effective) -> dict[str, str]:
    return {"agent": row.agent, "field": row.field, "value": row.value, "source": row.source, "why": row.why}


def explain_lines(rows: list[Effective]) -> list[str]:
    """One table an agent, before them one of the node."""
    from holdfast.cli.render import one_line, table

    lines: list[str] = []
    for agent in dict.fromkeys(row.agent for row in rows):
        cells = [
            (row.field, _cut(one_line(row.value)), row.source, one_line(row.why)) for row in rows if row.agent == agent
        ]
        lines.append(f"{agent}:" if agent else "the node:")
        lines.extend("  " + line for line in table(("KEY", "VALUE", "FROM", "WHY"), cells))
    return lines


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_MAX_CHARS else text[: VALUE_MAX_CHARS - 1] + "…"
