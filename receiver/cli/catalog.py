"""`receiver provider catalog`: lists the providers that need nothing but their parameters, and describes one."""

from dataclasses import asdict

import click

from receiver.cli import options
from receiver.cli.catalog_entries import EntryParameter, load_valid_variables
from receiver.cli.cells import Column
from receiver.cli.errors import report_errors
from receiver.cli.messages import print_message
from receiver.cli.output import print_fields, print_json, print_section, print_text, print_title
from receiver.cli.table_printer import TablePrinter
from receiver.cli.terminal import wide_option
from receiver.configured_providers import get_public_url
from receiver.providers.catalog.description import (
    FIELD_TITLES,
    EntryDescription,
    describe_entry,
    find_entries,
)
from receiver.providers.catalog.entries import CatalogEntry
from receiver.providers.catalog.facts import format_verified

_ENTRIES = (
    Column("name", "name"),
    Column("provider", "title", 9),
    Column("field", "field", 8),
    Column("does", lambda entry: ", ".join(entry["capabilities"]), 7),
    Column("signature", "signature", 6),
    Column("verified by", lambda entry: format_verified(entry["verified"]), 4, prose=True),
)
_PARAMETERS = (
    Column("name", "name"),
    Column("required", lambda parameter: "yes" if parameter["required"] else "no", 7),
    Column("default", "default", 6),
    Column("secret", lambda parameter: "yes" if parameter["secret"] else "no", 5),
    Column("what", "title", 9, prose=True),
)
_OPERATIONS = (
    Column("name", "name"),
    Column("request", lambda operation: f"{operation['method']} {operation['path']}", 6),
    Column("required fields", lambda operation: ", ".join(operation["required"]), 9, prose=True),
    Column("callback URL in", lambda operation: ", ".join(operation["callback_url"]), 7),
    Column("request id in", lambda operation: ", ".join(operation["idempotency"]), 5),
)
_STATUSES = (
    Column("status", "status"),
    Column("meaning", "meaning", 9),
    Column("in", lambda status: ", ".join(status["places"]), 7),
    Column("note", "note", 8),
)


@click.command()
@click.argument("entry", metavar="[NAME]", type=EntryParameter(), required=False)
@click.option("--field", type=click.Choice(list(FIELD_TITLES)), help="Only providers of this field.")
@click.option("--search", metavar="TEXT", default="", help="Only providers whose name, title or notes contain TEXT.")
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def catalog(entry: CatalogEntry | None, field: str | None, search: str, *, as_json: bool) -> None:
    """List the providers that need only their parameters, or describe one.

    Needs neither a service nor a configuration. `receiver provider add NAME` writes the table for receiver.toml.

    Example: receiver provider catalog --field sms
    """
    if entry is None:
        _list_entries(field or "", search, as_json=as_json)
        return
    if field or search:
        raise click.UsageError("--field and --search are for the list. Omit them, or NAME.")
    with report_errors():
        description = describe_entry(entry, get_public_url(load_valid_variables()))
    options.print_result(asdict(description), as_json, lambda _: _print_entry(description))


def _list_entries(field: str, text: str, *, as_json: bool) -> None:
    items = [asdict(entry) for entry in find_entries(field, text)]
    if as_json:
        print_json({"items": items})
    elif items:
        TablePrinter(_ENTRIES).show(items)
    else:
        print_message("no items found; any provider can be declared in receiver.toml, see docs/providers.md")


def _print_entry(description: EntryDescription) -> None:
    document = asdict(description)
    facts = {title[0].lower() + title[1:]: text.replace("`", "") for title, text in description.facts.items()}
    print_fields({"provider": f"{description.title} ({FIELD_TITLES[description.field]})", **facts})
    print_section("parameters", _PARAMETERS, document["parameters"])
    print_section("operations", _OPERATIONS, document["operations"])
    print_section("statuses", _STATUSES, document["statuses"])
    examples = [*(operation.command for operation in description.operations), description.test_command]
    for title, lines in (
        ("notes", description.notes),
        ("left out", description.left_out),
        ("links", description.documentation),
        ("in receiver.toml", description.toml.splitlines()),
        ("for example", [command for command in examples if command]),
    ):
        if lines:
            print_title(title)
            print_text("\n".join(lines))
