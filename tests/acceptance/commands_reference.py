"""The reference of all commands in the guide to them, made of what they say of themselves.

`python -m tests.acceptance.commands_reference` writes it anew.
"""

from collections.abc import Iterator

import click

from receiver.cli.main import commands
from tests.acceptance.guides import ROOT

GUIDE = ROOT / "receiver/cli/README.md"
ANEW = "python -m tests.acceptance.commands_reference"
_BEGIN, _END = "<!-- reference -->\n", "<!-- /reference -->\n"
_WIDTH = 100


def written_anew(text: str) -> str:
    """Give a guide's text with the reference of now in it."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    helps = "".join(f"\n### {name}\n\n```text\n{told}\n```\n" for name, told in _helps())
    return f"{before}{_BEGIN}{helps}\n{_END}{after}"


def _helps() -> Iterator[tuple[str, str]]:
    """Give each command with its help, groups before what is in them."""
    root = click.Context(commands, info_name="receiver", terminal_width=_WIDTH, **commands.context_settings)
    return _helps_below(commands, root)


def _helps_below(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _helps_below(inner, click.Context(inner, info_name=name, parent=context))


if __name__ == "__main__":
    GUIDE.write_text(written_anew(GUIDE.read_text()))
