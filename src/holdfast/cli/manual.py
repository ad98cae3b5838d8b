"""The manual, made from the commands themselves: man pages (roff) and the reference (Markdown). Pure.

Invariant: everything the command line takes is in both, since both come from the same tree; nothing depends on the
terminal, the date or the machine. Called by man.py and by the test that keeps docs/reference/cli.md true.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

import click

from holdfast import __version__

PROGRAM = "holdfast"
GLOBAL_OPTIONS = frozenset({"home", "json"})
EXIT_CODES = (
    ("0", "Done."),
    ("1", "Failed."),
    ("2", "A mistake in the command line or in a file."),
    ("3", "An agent is not healthy (ps, up --wait, restart --rolling)."),
    ("4", "No such agent, incident or code."),
    ("5", "No keeper answers."),
    ("6", "A person is needed."),
    ("130", "Interrupted by Ctrl-C."),
)
ENVIRONMENT = (
    ("HOLDFAST_HOME", "Where this Holdfast lives, unless --home says so."),
    ("NO_COLOR", "Not empty: no colours."),
    ("CLICOLOR_FORCE", "Not empty and not 0: colours also where there is no terminal."),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. `name`: `incidents show`; "" for the program itself."""

    name: str
    usage: str
    paragraphs: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    examples: tuple[str, ...]
    has_commands: bool

    @property
    def title(self) -> str:
        return f"{PROGRAM} {self.name}".strip()

    @property
    def summary(self) -> str:
        """The first sentence, without its full stop."""
        first = self.paragraphs[0] if self.paragraphs else self.name
        return re.split(r"(?<=\.)\s", first, maxsplit=1)[0].rstrip(".")


def entries(root: click.Command) -> list[Entry]:
    """All commands, each after its group, in the order of the help."""
    return list(_walk(root, click.Context(root, info_name=PROGRAM), ""))


def _walk(command: click.Command, context: click.Context, name: str) -> Iterator[Entry]:
    is_group = isinstance(command, click.Group)
    usage = " ".join(command.collect_usage_pieces(context))
    yield Entry(
        name=name,
        usage=f"{context.command_path} {usage}",
        paragraphs=_paragraphs(command.help or ""),
        options=tuple(_options(command, context)),
        examples=tuple(getattr(command, "examples", ())),
        has_commands=is_group,
    )
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None and not found.hidden:
                below = click.Context(found, info_name=inner, parent=context)
                yield from _walk(found, below, f"{name} {inner}".strip())


def _paragraphs(text: str) -> tuple[str, ...]:
    parts = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return tuple(" ".join(part.replace("\b", "").split()) for part in parts if part.strip())


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """The command's own options; those of every command stand once, in the program's own entry."""
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or (parameter.name in GLOBAL_OPTIONS and context.parent):
            continue
        record = parameter.get_help_record(context)
        if record is not None:
            yield record[0], " ".join(record[1].split())


# --- roff --------------------------------------------------------------------------------------------------------
def page(shown: list[Entry], entry: Entry) -> str:
    """The man page of one entry; the program's own page lists the commands of `shown`."""
    title = entry.title.replace(" ", "-")
    lines = [
        f'.TH "{_roff(title.upper())}" "1" "" "{PROGRAM} {__version__}" "Holdfast"',
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(entry.summary)}",
        ".SH SYNOPSIS",
        f".B {_roff(entry.usage)}",
        ".SH DESCRIPTION",
    ]
    for number, paragraph in enumerate(entry.paragraphs):
        lines += [".PP"] if number else []
        lines.append(_roff(paragraph))
    below = [one for one in shown if one.name and _is_below(one, entry)]
    if below:
        lines.append(".SH COMMANDS")
        for one in below:
            lines += [".TP", f".B {_roff(one.title)}", _roff(one.summary + ".")]
    if entry.options:
        lines.append(".SH OPTIONS")
        lines += _terms(entry.options)
    if entry.name:
        lines += [
            ".PP",
            _roff("--home DIR and --json are understood by every command, see ") + f"\\fB{PROGRAM}\\fR(1).",
        ]
    else:
        lines += [".SH EXIT STATUS", *_terms(EXIT_CODES), ".SH ENVIRONMENT", *_terms(ENVIRONMENT)]
    if entry.examples:
        lines += [".SH EXAMPLES", ".nf", *(_roff(example) for example in entry.examples), ".fi"]
    if entry.name:
        lines += [".SH SEE ALSO", f"\\fB{PROGRAM}\\fR(1)"]
    return "\n".join(lines) + "\n"


def page_name(entry: Entry) -> str:
    """`holdfast-incidents-show.1`."""
    return f"{entry.title.replace(' ', '-')}.1"


def _is_below(one: Entry, entry: Entry) -> bool:
    """Whether `one` is a command of `entry` itself; the program's page lists those of its groups too."""
    return not entry.name or (entry.has_commands and one.name.startswith(f"{entry.name} "))


def _terms(pairs: tuple[tuple[str, str], ...]) -> list[str]:
    lines: list[str] = []
    for term, words in pairs:
        lines += [".TP", f".B {_roff(term)}", _roff(words)]
    return lines


def _roff(text: str) -> str:
    """Text that roff takes for nothing but text."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")
    escaped = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in escaped)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


# --- Markdown ----------------------------------------------------------------------------------------------------
def reference(shown: list[Entry]) -> str:
    """docs/reference/cli.md."""
    lines = [
        "# The command line",
        "",
        "Written by `holdfast man --markdown`; a test keeps it true. `holdfast man` prints the same as a man page.",
        "",
    ]
    for entry in shown:
        lines += [f"{'##' if ' ' not in entry.name else '###'} {entry.title}", "", "```", entry.usage, "```", ""]
        for paragraph in entry.paragraphs:
            lines += [_markdown(paragraph), ""]
        if entry.options:
            lines += ["| option | meaning |", "|---|---|"]
            lines += [f"| `{_cell(term)}` | {_cell(_markdown(words))} |" for term, words in entry.options]
            lines.append("")
        if entry.examples:
            lines += ["```sh", *entry.examples, "```", ""]
        if not entry.name:
            lines += [
                "| exit code | meaning |",
                "|---|---|",
                *(f"| {code} | {words} |" for code, words in EXIT_CODES),
                "",
            ]
            lines += [
                "| variable | meaning |",
                "|---|---|",
                *(f"| `{name}` | {words} |" for name, words in ENVIRONMENT),
            ]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _markdown(text: str) -> str:
    return re.sub(r"([<>*_])", r"\\\1", text)
