"""`receiver openapi`: the OpenAPI document, made of the settings alone."""

import os

import click
import orjson

from receiver.cli.errors import report_errors
from receiver.settings import load_settings
from receiver.web.openapi import build_document
from receiver.web.v1 import api


@click.command()
def openapi() -> None:
    """Print the OpenAPI document of the API as it is configured.

    It needs neither a database nor a running service; a service serves the same at /openapi.json.
    """
    with report_errors():
        document = build_document(load_settings(os.environ), api.operations)
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
