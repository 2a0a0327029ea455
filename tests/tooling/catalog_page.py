"""The page of the catalog in the guides, generated from its entries.

`python -m tests.tooling.catalog_page` rewrites it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from receiver.providers.catalog.description import (
    EntryDescription,
    EntrySummary,
    StatusDescription,
    describe_entry,
    find_entries,
    group_entries,
)
from receiver.providers.catalog.entries import load_entry
from receiver.providers.catalog.facts import URL_FACTS, format_verified

PAGE = Path(__file__).parents[2] / "docs/catalog.md"
COMMAND = "python -m tests.tooling.catalog_page"
_PUBLIC_URL = "RECEIVER_PUBLIC_URL"
_INTRODUCTION = """\
# Catalog of providers

These providers need only their parameters. `receiver provider add NAME` writes the table for `receiver.toml`, and
prints what to do next. `receiver provider catalog NAME` and the admin pages show what is on this page, with the URL of
the installation. Any other provider is [declared in the file](providers.md#by-file).

Each part of an entry was verified by the vendor's own pages, specification or library, except for parts that are named
in the last column, which were verified by other sources. What could not be verified is left out, and listed. The
signature `token` means that the vendor signs nothing: the end of the callback URL is secret. This page is generated.
"""


def build_page() -> str:
    """Return the text of the page."""
    groups = group_entries(find_entries())
    count = sum(map(len, groups.values()))
    fields = ", ".join(f"[{title}](#{_build_anchor(title)}) ({len(entries)})" for title, entries in groups.items())
    sections = [_build_section(title, entries) for title, entries in groups.items()]
    return "\n".join([_INTRODUCTION, f"{count} providers: {fields}.\n", *sections])


def _build_section(title: str, entries: Sequence[EntrySummary]) -> str:
    """Return the section of a field: a table of its providers, and what there is to know about each of them."""
    descriptions = [describe_entry(load_entry(entry.name), _PUBLIC_URL) for entry in entries]
    rows = [
        [
            f"[{entry.title}](#{entry.name})",
            f"`{entry.name}`",
            *("✓" if capability in entry.capabilities else "" for capability in ("submit", "callbacks", "poll")),
            _join_code([parameter.name for parameter in entry.parameters if parameter.required]),
            f"`{entry.signature}`, {entry.trust}",
            format_verified(entry.verified),
        ]
        for entry in descriptions
    ]
    headings = ["provider", "kind", "submit", "callbacks", "poll", "to set", "signature, trust", "verified by"]
    return "\n".join([f"## {title}\n", *_build_table(headings, rows), *map(_build_entry, descriptions)])


def _build_entry(entry: EntryDescription) -> str:
    """Return what there is to know about a provider; all but its table and notes is folded."""
    lines = [
        f'\n<a id="{entry.name}"></a>\n',
        f"### {entry.title}\n",
        f"```toml\n{entry.toml}```\n",
        *(f"- {note}" for note in entry.notes),
        f"- Callback URL: {'. '.join(entry.facts[title].rstrip('.') for title in URL_FACTS if title in entry.facts)}.",
        *(f"- Left out: {text}" for text in entry.left_out),
        "\n<details><summary>Parameters, operations, statuses</summary>\n",
        *_build_details(entry),
        "</details>",
    ]
    return "\n".join(lines)


def _build_details(entry: EntryDescription) -> Iterator[str]:
    """Yield the lines of the tables and facts of a provider."""
    facts = {title: text for title, text in entry.facts.items() if title not in URL_FACTS}
    yield from (f"- {title}: {text}" for title, text in facts.items())
    yield f"- Links: {', '.join(f'<{url}>' for url in entry.documentation)}\n"
    parameters = [
        [
            f"`{parameter.name}`",
            f"{parameter.title}{' (secret)' if parameter.secret else ''}",
            "required" if parameter.required else f"`{parameter.default}`" if parameter.default else "optional",
        ]
        for parameter in entry.parameters
    ]
    yield from _build_table(["parameter", "what", "default"], parameters)
    operations = [
        [
            f"`{operation.name}`",
            f"`{operation.method} {operation.path}`",
            *map(_join_code, (operation.required, operation.callback_url, operation.idempotency)),
        ]
        for operation in entry.operations
    ]
    headings = ["operation", "request", "required fields", "callback URL in", "request id in"]
    yield from _build_table(headings, operations)
    yield from _build_table(["meaning", "statuses", "in"], _group_statuses(entry.statuses))


def _group_statuses(statuses: Sequence[StatusDescription]) -> Sequence[Sequence[str]]:
    """Return a row for each meaning, with the statuses that have it in the same messages."""
    groups: dict[tuple[str, str], list[str]] = {}
    for status in statuses:
        meaning = ", ".join(filter(None, (status.meaning, status.note)))
        groups.setdefault((meaning, ", ".join(status.places)), []).append(status.status)
    return [[meaning, _join_code(words), places] for (meaning, places), words in groups.items()]


def _build_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table with an empty line after it; none for a table without rows."""
    if rows:
        yield _build_row(headings)
        yield _build_row(["---"] * len(headings))
        yield from map(_build_row, rows)
        yield ""


def _build_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _join_code(texts: Sequence[str]) -> str:
    return ", ".join(f"`{text}`" for text in texts)


def _build_anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(build_page(), encoding="utf-8")
