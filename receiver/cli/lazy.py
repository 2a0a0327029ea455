"""A group that imports its commands only when they are called, and lists them without.

Commands that call `/v1` therefore start quickly and need neither Flask nor the database driver.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click


class LazyCommand(NamedTuple):
    """The import path of a command, `MODULE:NAME`, and the first sentence of its help.

    `option` builds a further option of the command, and of all its subcommands that are not lazy.
    """

    import_path: str
    help: str
    option: Callable[[], click.Option] | None = None


class LazyGroup(click.Group):
    """A group that imports some of its commands only when they are called, not to list them."""

    def __init__(self, *args: Any, lazy_commands: Mapping[str, LazyCommand] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy_commands = dict(lazy_commands or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.lazy_commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy_command = self.lazy_commands.get(cmd_name)
        if lazy_command is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = lazy_command.import_path.partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{lazy_command.import_path} is not a command")
        if lazy_command.option is not None:
            _add_option(command, lazy_command.option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click knows only the commands that are imported.
            raise click.NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        listed = {name: click.Command(name, help=command.help) for name, command in self.lazy_commands.items()}
        click.Group(commands={**self.commands, **listed}).format_commands(ctx, formatter)


def _add_option(command: click.Command, option: click.Option) -> None:
    """Add an option to a command, or to those of a group, unless they have it already."""
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            _add_option(subcommand, option)
    elif option.name not in {param.name for param in command.params}:
        command.params.append(option)
