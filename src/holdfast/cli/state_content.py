"""`holdfast state cat|export`: contents of a snapshot as bytes, on standard output or into a file.

Invariant: memory stays flat whatever the size; what ends too early is an error and never looks whole (a file appears
under its name only when it is complete); bytes that are no text never reach a terminal unasked.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from collections.abc import Iterator

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, complete_agent, complete_snapshot, pass_session
from holdfast.errors import HoldfastError

LOOKED_AT_BYTES = 65_536  # of the beginning, to tell text from everything else


@click.command(
    "cat",
    cls=Command,
    examples=[
        "holdfast state cat assistant known-good memory/notes.md",
        "holdfast state cat assistant 'yesterday 14:00' state.db > state.db",
    ],
)
@click.argument("agent", shell_complete=complete_agent)
@click.argument("snapshot", shell_complete=complete_snapshot)
@click.argument("path")
@click.option("--force", is_flag=True, help="Send bytes that are no text to a terminal too, as they are.")
@pass_session
def cat_command(session: Session, agent: str, snapshot: str, path: str, force: bool) -> None:
    """Print one file as it was in a snapshot. Databases come out as one consistent file."""
    from holdfast.cli.restore import wish_text

    wished = wish_text(snapshot, prefer_id=True)
    pieces = _pieces(session, agent, "cat", {"snapshot": wished, "path": path})
    if _is_terminal() and not force:
        _show_text(pieces, path)
        return
    _copy(pieces)


@click.command(
    "export",
    cls=Command,
    examples=[
        "holdfast state export assistant -o assistant.tar",
        "holdfast state export assistant known-good --tar | tar -tv",
    ],
)
@click.argument("agent", shell_complete=complete_agent)
@click.argument("snapshot", default="newest", shell_complete=complete_snapshot)
@click.option("--tar", is_flag=True, help="As a tar archive (there is no other form yet).")
@click.option("-o", "--output", metavar="FILE", help="Into this file, which appears when it is whole.")
@click.option("--force", is_flag=True, help="Replace FILE; or send the archive to a terminal.")
@pass_session
def export_command(session: Session, agent: str, snapshot: str, tar: bool, output: str | None, force: bool) -> None:
    """Write a whole snapshot as a tar archive: to take along, or to read without Holdfast. SNAPSHOT: newest, if absent.

    The same snapshot always gives the same bytes. Owners, modes, times, links and extended attributes are kept.
    """
    from holdfast.cli.restore import wish_text

    wished = wish_text(snapshot, prefer_id=True)
    if output is None and _is_terminal() and not force:
        raise click.UsageError("an archive is nothing for a terminal: name a file with -o, or send it to a program")
    if output is not None and os.path.exists(output) and not force:
        raise click.UsageError(f"{output} exists; --force replaces it")
    pieces = _pieces(session, agent, "export", {"snapshot": wished})
    if output is None:
        _copy(pieces)
        return
    written = _write(pieces, output)
    if session.as_json:
        session.answer({"agent": agent, "file": os.path.abspath(output), "bytes": written})
    else:
        from holdfast.cli.render import size

        click.echo(f"{agent}: {size(written)} written to {output}; `tar -tvf` lists it")


def _pieces(session: Session, agent: str, what: str, query: dict[str, object]) -> Iterator[bytes]:
    """The bytes. Raises HoldfastError, STATE_CUT_SHORT among them."""
    from holdfast.cli.wire import WireError

    try:
        yield from session.client().pieces(f"/v1/agents/{agent}/state/{what}", query)
    except (WireError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise HoldfastError(errors.STATE_CUT_SHORT, agent=agent, reason=error) from error


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _copy(pieces: Iterator[bytes]) -> None:
    sys.stdout.flush()
    out = sys.stdout.buffer
    for piece in pieces:
        out.write(piece)
    out.flush()


def _show_text(pieces: Iterator[bytes], path: str) -> None:
    """For a terminal: text, with whatever could move its cursor made visible. Raises click.UsageError for the rest."""
    from holdfast.printable import log_line

    first = b""
    for piece in pieces:
        first += piece
        if len(first) >= LOOKED_AT_BYTES:
            break
    if not is_text(first):
        raise click.UsageError(f"{path} is no text: send it to a file or a program, or say --force")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for piece in _then(first, pieces):
        lines = (rest + decoder.decode(piece)).split("\n")
        rest = lines.pop()
        for line in lines:
            click.echo(log_line(line))
    rest += decoder.decode(b"", final=True)
    if rest:
        click.echo(log_line(rest))


def _then(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def is_text(data: bytes) -> bool:
    """Whether the beginning of a file is UTF-8 without NUL bytes; it may end inside a character."""
    if b"\0" in data:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _write(pieces: Iterator[bytes], output: str) -> int:
    """Into a file that appears whole or not at all; its size. Raises HoldfastError OUTPUT_FAILED and others."""
    aside, written = f"{output}.part-{os.getpid()}", 0
    try:
        with open(aside, "xb") as file:
            for piece in pieces:
                file.write(piece)
                written += len(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, output)
    except OSError as error:
        raise HoldfastError(errors.OUTPUT_FAILED, reason=f"{output}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
    return written
