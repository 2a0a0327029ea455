"""A group that imports its commands only when they are called.

Commands that call `/v1` therefore start quickly and need neither Flask nor the database driver.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that finds some of its commands by their import paths, `MODULE:NAME`."""

    def __init__(self, *args: Any, import_paths: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._import_paths = dict(import_paths or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._import_paths})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        import_path = self._import_paths.get(cmd_name)
        if import_path is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = import_path.partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{import_path} is not a command")
        return command
