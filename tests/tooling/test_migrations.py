"""The migrations can be applied beside processes that serve: what squawk checks, and what it does not."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import sqlparse

ROOT = Path(__file__).parents[2]
SQUAWK = Path(sys.executable).with_name("squawk")
MIGRATIONS = sorted((ROOT / "receiver" / "store" / "migrations").glob("*.sql"))
NOT_TRANSACTIONAL = "-- transactional: false\n"


def lint(path: Path) -> str:
    """Return what squawk reports about a migration; empty if it reports nothing."""
    mode = "--no-assume-in-transaction" if NOT_TRANSACTIONAL in path.read_text() else "--assume-in-transaction"
    process = subprocess.run(
        [SQUAWK, "--config", ROOT / ".squawk.toml", "--reporter", "gcc", mode, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == bool(process.stdout), process.stderr
    return process.stdout


def find_combined_alterations(sql: str) -> list[str]:
    """Return the ALTER TABLE statements that have several subcommands."""
    return [
        str(statement).strip()
        for statement in sqlparse.parse(sqlparse.format(sql, strip_comments=True))
        if str(statement).strip().upper().startswith("ALTER TABLE") and has_comma_outside_parentheses(str(statement))
    ]


def has_comma_outside_parentheses(statement: str) -> bool:
    depth = 0
    for character in statement:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            return True
    return False


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_migration_passes_squawk(path: Path) -> None:
    assert lint(path) == ""


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_migration_alters_tables_one_subcommand_at_a_time(path: Path) -> None:
    assert find_combined_alterations(path.read_text()) == []


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("CREATE INDEX i ON requests (a);", "require-concurrent-index-creation"),
        ("DROP INDEX i;", "require-concurrent-index-deletion"),
        (
            "ALTER TABLE requests ADD COLUMN a text; CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON requests (a);",
            "ban-concurrent-index-creation-in-transaction",
        ),
        (f"{NOT_TRANSACTIONAL}CREATE INDEX CONCURRENTLY i ON requests (a);", "prefer-robust-stmts"),
        ("ALTER TABLE requests DROP COLUMN a;", "ban-drop-column"),
        ("ALTER TABLE requests RENAME COLUMN a TO b;", "renaming-column"),
        ("ALTER TABLE requests ADD COLUMN a text NOT NULL;", "adding-required-field"),
    ],
)
def test_squawk_reports_migration_that_stops_the_service(sql: str, rule: str, tmp_path: Path) -> None:
    path = tmp_path / "0001_bad.sql"
    path.write_text(sql)
    assert rule in lint(path)


@pytest.mark.parametrize(("previous", "path"), list(pairwise(MIGRATIONS)), ids=lambda path: path.stem)
def test_migration_depends_on_the_previous_one(previous: Path, path: Path) -> None:
    sql = path.read_text()
    assert sql.startswith("-- ")
    assert re.findall("^-- depends: (.*)$", sql, re.MULTILINE) == [previous.stem]


def test_combined_alterations_are_found() -> None:
    combined = "ALTER TABLE jobs ADD COLUMN a text, ADD COLUMN b text;"
    separate = "ALTER TABLE jobs ADD COLUMN a numeric(4, 2); -- one, two\nCREATE TABLE a (b text, c text);"
    assert find_combined_alterations(f"{separate}\n{combined}") == [combined]
