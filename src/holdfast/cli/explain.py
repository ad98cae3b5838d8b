"""`holdfast explain [HFnnnn]`: what an error code means. Needs no keeper and no home."""

from __future__ import annotations

import string

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, pass_session
from holdfast.errors import CATALOGUE, ErrorKind, HoldfastError

FAMILIES = {
    "HF1": "what a user wrote",
    "HF2": "agents",
    "HF3": "Holdfast's own processes",
    "HF4": "the machine",
    "HF5": "alerts",
}


@click.command(cls=Command, examples=["holdfast explain HF2010", "holdfast explain"])
@click.argument("code", required=False)
@pass_session
def explain(session: Session, code: str | None) -> None:
    """Explain one error code, or list them all."""
    if code is None:
        _list_all(session)
        return
    kind = CATALOGUE.get(code.upper())
    if kind is None:
        raise HoldfastError(errors.UNKNOWN_ERROR_CODE, code=code)
    if session.as_json:
        session.answer(_as_dict(kind))
        return
    click.echo(
        f"{kind.code} {kind.name}\n"
        f"says: {in_words(kind.summary)}\n"
        f"next: {in_words(kind.next_step)}\n"
        f"exit code: {kind.exit_code}"
    )


def in_words(template: str) -> str:
    """A template with <name> where a value stands."""
    parts = []
    for literal, name, _spec, _conversion in string.Formatter().parse(template):
        parts.append(literal + (f"<{name}>" if name else ""))
    return "".join(parts)


def _list_all(session: Session) -> None:
    if session.as_json:
        session.answer({"errors": [_as_dict(kind) for kind in CATALOGUE.values()]})
        return
    family = ""
    for kind in sorted(CATALOGUE.values(), key=lambda entry: entry.code):
        if kind.code[:3] != family:
            family = kind.code[:3]
            click.echo(f"{family}xxx: {FAMILIES.get(family, '')}")
        click.echo(f"  {kind.code}  {kind.name:<22} {in_words(kind.summary).splitlines()[0]}")


def _as_dict(kind: ErrorKind) -> dict[str, object]:
    return {
        "code": kind.code,
        "name": kind.name,
        "message": in_words(kind.summary),
        "next": in_words(kind.next_step),
        "exit_code": kind.exit_code,
    }
