"""A filter is the same in the API's query, in the store and among the options of the list command."""

from dataclasses import fields

import click
import pytest

from receiver.cli import callbacks as callback_commands
from receiver.cli import jobs as job_commands
from receiver.cli import requests as request_commands
from receiver.domain.filters import CallbackFilter, JobFilter, RequestFilter
from receiver.schemas.api.callbacks import CallbackQuerySchema
from receiver.schemas.api.common import ListQuerySchema
from receiver.schemas.api.jobs import JobQuerySchema
from receiver.schemas.api.requests import RequestQuerySchema

Filter = JobFilter | RequestFilter | CallbackFilter
PAGE_FIELDS = set(ListQuerySchema().fields)
PAGE_OPTIONS = {"limit", "cursor", "show_all", "as_json", "wide", "profile"}
LISTS = [
    (JobQuerySchema(), JobFilter(), job_commands.list_jobs),
    (RequestQuerySchema(), RequestFilter(), request_commands.list_requests),
    (CallbackQuerySchema(), CallbackFilter(), callback_commands.list_callbacks),
]


@pytest.mark.parametrize(("schema", "empty", "_command"), LISTS)
def test_query_without_parameters_loads_to_empty_filter(
    schema: ListQuerySchema, empty: Filter, _command: click.Command
) -> None:
    assert schema.load({})["filter"] == empty


@pytest.mark.parametrize(("schema", "empty", "command"), LISTS)
def test_filter_fields_are_query_parameters_and_options(
    schema: ListQuerySchema, empty: Filter, command: click.Command
) -> None:
    parameters = set(schema.fields) - PAGE_FIELDS
    assert {field.name for field in fields(empty)} == parameters - {"provider", "account"} | {"providers"}
    assert {str(option.name) for option in command.params} - PAGE_OPTIONS == parameters
