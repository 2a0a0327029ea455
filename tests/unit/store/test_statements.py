"""Tests of the files of named SQL statements, and of their jsonb parameters."""

from uuid import UUID

import pytest

from receiver.store.connections import as_jsonb
from receiver.store.errors import Unstorable
from receiver.store.statements import load_statement, load_statements, parse_statements


def test_statement_is_block_without_name_line() -> None:
    text = b"-- name: find_one\n-- Return one.\nSELECT 1\n\n-- name: find_two\n-- names two.\n\nSELECT 2\n"
    assert parse_statements([text]) == {
        "find_one": b"-- Return one.\nSELECT 1\n",
        "find_two": b"-- names two.\n\nSELECT 2\n",
    }


def test_name_in_two_files_is_refused() -> None:
    with pytest.raises(ValueError, match="two statements have the name 'find_one'"):
        parse_statements([b"-- name: find_one\nSELECT 1\n", b"-- name: find_one\nSELECT 2\n"])


def test_text_before_first_name_is_refused() -> None:
    with pytest.raises(ValueError, match="text before the first name line"):
        parse_statements([b"SELECT 1\n-- name: find_one\nSELECT 1\n"])


def test_unknown_statement_is_named_in_error() -> None:
    with pytest.raises(LookupError, match="receiver/store/sql has no statement 'find_nothing'"):
        load_statement("find_nothing")


def test_statement_is_loaded_once() -> None:
    assert load_statement("find_job") is load_statements()["find_job"]


def test_jsonb_holds_bytes_in_base64() -> None:
    assert as_jsonb({"body": b"\xff\x00", "id": UUID(int=1)}) == f'{{"body":"/wA=","id":"{UUID(int=1)}"}}'


def test_jsonb_refuses_value_without_json_type() -> None:
    with pytest.raises(Unstorable, match="not JSON serializable: object"):
        as_jsonb({"value": object()})
