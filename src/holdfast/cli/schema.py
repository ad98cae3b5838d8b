"""`holdfast schema`: the JSON Schema of holdfast.yaml, for editors. Needs no keeper and no home."""

from __future__ import annotations

import json

import click

from holdfast.cli.session import Command, Session, pass_session


@click.command(cls=Command, examples=["holdfast schema > holdfast.schema.json"])
@pass_session
def schema(session: Session) -> None:
    """Print the JSON Schema of holdfast.yaml.

    With `# yaml-language-server: $schema=./holdfast.schema.json` as its first line, editors complete the file and
    say what each key means.
    """
    click.echo(text(), nl=False)


def text() -> str:
    """The schema as it is printed, and kept in docs/reference."""
    from holdfast import recipes
    from holdfast.spec import schema as shape

    return json.dumps(shape.schema(recipes.BOOK), indent=1, ensure_ascii=False) + "\n"
