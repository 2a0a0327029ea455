"""`receiver openapi`: prints the OpenAPI document, which follows from the settings alone."""

import os

import click
import orjson

from receiver.cli.errors import report_errors
from receiver.settings import load_settings
from receiver.web.openapi.document import build_document
from receiver.web.v1 import api


@click.command()
def openapi() -> None:
    """Print the OpenAPI document of the API as it is configured.

    Needs neither a database nor a running service. A service serves the same document at /openapi.json.
    """
    with report_errors():
        document = build_document(load_settings(os.environ), api.operations, is_public=True)
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
