"""docs/catalog.md is what the entries of the catalog say."""

import re

from receiver.providers.catalog.entries import list_entries
from tests.tooling.catalog_page import COMMAND, PAGE, build_page

TEXT = PAGE.read_text(encoding="utf-8")


def test_page_is_up_to_date() -> None:
    assert build_page() == TEXT, f"an entry of the catalog has changed; run: {COMMAND}"


def test_page_links_to_its_own_sections() -> None:
    sections = re.findall(r'<a id="([^"]+)"></a>', TEXT)
    assert sorted(sections) == list_entries()
    headings = [
        line.removeprefix("## ").lower().replace(" ", "-") for line in re.findall("^## .*$", TEXT, re.MULTILINE)
    ]
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) == {*sections, *headings}


def test_every_row_of_a_table_has_its_columns() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1, table
