"""Tables that fit the terminal: which columns are shown, and how values wrap."""

from collections.abc import Callable, Sequence

import pytest
from rich.cells import cell_len

from receiver.cli.cells import Column
from receiver.cli.table_printer import TablePrinter
from receiver.cli.terminal import Terminal

ID = "018f0000-0000-7000-8000-000000000000"
COLUMNS = (Column("id", "id"), Column("note", "note", 3, prose=True), Column("a", "a", 5), Column("b", "b", 7))
ITEM = {"id": ID, "note": "", "a": "aaaaaa", "b": "bbbbbbbb"}


PrintTable = Callable[..., list[str]]


@pytest.fixture
def print_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> PrintTable:
    """Print pages of a table at a terminal of some width, which has no colors; return the lines."""

    def print_pages(width: int | None, *pages: Sequence[dict[str, object]]) -> list[str]:
        monkeypatch.setattr("receiver.cli.table_printer.inspect_stdout", lambda: Terminal(width))
        table = TablePrinter(COLUMNS)
        for page in pages:
            table.show(page)
        return capsys.readouterr().out.splitlines()

    return print_pages


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (None, ["id", "note", "a", "b"]),
        (60, ["id", "note", "a", "b"]),
        (54, ["id", "a", "b"]),
        (53, ["id", "note", "b"]),
        (45, ["id", "a"]),
        (36, ["id"]),
        (10, ["id"]),
    ],
)
def test_columns_that_fit_are_the_most_important(
    print_table: PrintTable, width: int | None, headings: list[str]
) -> None:
    [first, row] = print_table(width, [ITEM])
    assert first.split() == headings
    assert row.startswith(ID)


def test_columns_that_are_left_out_are_named_once(capsys: pytest.CaptureFixture[str], print_table: PrintTable) -> None:
    print_table(10)
    table = TablePrinter(COLUMNS)
    table.show([ITEM])
    table.show([ITEM])
    assert capsys.readouterr().err == "not shown here: a, b; --wide shows all columns\n"


def test_column_without_values_goes_first(print_table: PrintTable) -> None:
    [first, *_] = print_table(56, [{**ITEM, "b": "", "note": "some words"}])
    assert first.split() == ["id", "note", "a"]


def test_page_that_needs_more_room_repeats_the_headings(print_table: PrintTable) -> None:
    lines = print_table(54, [ITEM], [ITEM], [{**ITEM, "b": "b" * 10}])
    assert [line.split()[0] for line in lines] == ["id", ID, ID, "id", ID]
    assert lines[3].split() == ["id", "note", "b"]


def test_prose_wraps_within_the_width(print_table: PrintTable) -> None:
    note = f"{'mot ' * 20}{'語' * 30} "
    lines = print_table(100, [{**ITEM, "note": note}])
    assert max(map(cell_len, lines)) <= 100
    shown = "".join(lines[1:]).translate(str.maketrans("", "", " ab"))
    assert shown == f"{ID}{note}".translate(str.maketrans("", "", " ab"))


def test_pipe_gets_one_complete_line_per_row(print_table: PrintTable) -> None:
    note = "many words " * 50
    assert note.strip() in print_table(None, [{**ITEM, "note": note}])[1]
