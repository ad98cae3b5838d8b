"""`holdfast completion SHELL`: the script that makes the shell complete commands, options and agent names."""

from __future__ import annotations

import click

from holdfast.cli.session import Command


@click.command(
    cls=Command,
    examples=[
        'bash:  eval "$(holdfast completion bash)"      (in ~/.bashrc)',
        'zsh:   eval "$(holdfast completion zsh)"       (in ~/.zshrc)',
        "fish:  holdfast completion fish | source       (in ~/.config/fish/config.fish)",
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    from holdfast.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None  # click knows all three
    completer = kind(cli, {}, "holdfast", "_HOLDFAST_COMPLETE")
    # `source()` of bash runs bash to ask its version; the script itself is the same text
    click.echo(completer.source_template % completer.source_vars())
