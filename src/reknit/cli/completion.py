"""``reknit completion``: the script that teaches a shell to complete ``reknit``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script for SHELL.

    \b
    bash:  reknit completion bash >> ~/.bashrc
    zsh:   reknit completion zsh >> ~/.zshrc
    fish:  reknit completion fish > ~/.config/fish/completions/reknit.fish
    """
    from reknit.cli.main import group

    maker = get_completion_class(shell)
    assert maker is not None  # click.Choice allows only shells that click knows
    click.echo(maker(group, {}, "reknit", "_REKNIT_COMPLETE").source())
    return 0
