"""`holdfast man`: the manual as man pages, printed or written where man finds them."""

from __future__ import annotations

from pathlib import Path

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, pass_session
from holdfast.errors import HoldfastError


@click.command(
    cls=Command,
    examples=[
        "holdfast man | man -l -",
        "holdfast man restart | man -l -",
        "holdfast man --write ~/.local/share/man/man1",
    ],
)
@click.argument("command", nargs=-1, metavar="[COMMAND]...")
@click.option("--write", "directory", metavar="DIR", type=click.Path(file_okay=False), help="Write every page there.")
@click.option("--markdown", is_flag=True, help="The whole reference as Markdown instead.")
@pass_session
def man(session: Session, command: tuple[str, ...], directory: str | None, markdown: bool) -> None:
    """Print a man page made from the commands themselves: of one command, or of holdfast as a whole."""
    from holdfast.cli import manual
    from holdfast.cli.main import cli

    shown = manual.entries(cli)
    if directory is not None:
        written = _write(Path(directory), {manual.page_name(one): manual.page(shown, one) for one in shown})
        if session.as_json:
            session.answer({"directory": directory, "pages": written})
        else:
            click.echo(f"{len(written)} pages written to {directory}; read them with `man holdfast`")
        return
    wanted = next((one for one in shown if one.name == " ".join(command)), None)
    if wanted is None:
        raise click.UsageError(f"No such command {' '.join(command)!r}")
    text = manual.reference(shown) if markdown else manual.page(shown, wanted)
    if session.as_json:
        session.answer({"name": wanted.title, "text": text})
    else:
        click.echo(text, nl=False)


def _write(directory: Path, pages: dict[str, str]) -> list[str]:
    """Each page whole or not at all. Raises HoldfastError USAGE with the reason."""
    from holdfast.files import write_atomic

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            write_atomic(directory / name, text.encode(), mode=0o644)
    except OSError as error:
        raise HoldfastError(errors.USAGE, reason=f"{directory}: {error.strerror}", command="holdfast man") from error
    return list(pages)
