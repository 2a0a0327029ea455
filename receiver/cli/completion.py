"""`receiver completion`: prints click's shell scripts that complete our commands and options."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash:  echo 'eval "$(receiver completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(receiver completion zsh)"' >> ~/.zshrc
    fish:  receiver completion fish > ~/.config/fish/completions/receiver.fish
    """  # noqa: D301  # click's marker for lines that it must not rewrap
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"Completion is not supported for {shell}.")
    click.echo(script(ctx.find_root().command, {}, "receiver", "_RECEIVER_COMPLETE").source())
