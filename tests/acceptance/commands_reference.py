"""The reference of all commands in the commands guide, generated from their `--help`.

`python -m tests.acceptance.commands_reference` updates the guide.
"""

from collections.abc import Iterator

import click

from receiver.cli.main import commands
from tests.acceptance.guides import ROOT

GUIDE = ROOT / "docs/commands.md"
COMMAND = "python -m tests.acceptance.commands_reference"
_BEGIN, _END = "<!-- reference -->\n", "<!-- /reference -->\n"
_WIDTH_CHARS = 100


def update_reference(text: str) -> str:
    """Return a guide's text with the current reference in it."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    sections = "".join(f"\n### {name}\n\n```text\n{help_text}\n```\n" for name, help_text in _list_help_texts())
    return f"{before}{_BEGIN}{sections}\n{_END}{after}"


def _list_help_texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the help of each command; a group comes before its commands."""
    root = click.Context(commands, info_name="receiver", terminal_width=_WIDTH_CHARS, **commands.context_settings)
    return _walk(commands, root)


def _walk(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            if subcommand is not None:
                yield from _walk(subcommand, click.Context(subcommand, info_name=name, parent=context))


if __name__ == "__main__":
    GUIDE.write_text(update_reference(GUIDE.read_text()))
