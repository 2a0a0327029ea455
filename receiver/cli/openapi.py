"""`receiver openapi`: the OpenAPI document, made of the settings alone."""

import os

import click
import orjson

from receiver.cli.errors import errors_told
from receiver.settings import load_settings
from receiver.web.openapi import openapi_document
from receiver.web.v1 import api


@click.command()
def openapi() -> None:
    """Print the OpenAPI document of the API as it is configured.

    It needs neither a database nor a running service; a service serves the same at /openapi.json.
    """
    with errors_told():
        document = openapi_document(load_settings(os.environ), api.operations)
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
