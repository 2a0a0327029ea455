"""`receiver openapi`: prints the OpenAPI document, which follows from the settings alone."""

import os

import click
import orjson

from receiver.cli.errors import report_errors
from receiver.settings import load_settings
from receiver.web.openapi.document import build_document
from receiver.web.v1 import api


@click.command()
@click.option(
    "--webhooks/--no-webhooks",
    default=True,
    help="With or without the callbacks of providers and the webhook notifications; without them for generators of "
    "clients.",
)
def openapi(*, webhooks: bool) -> None:
    """Print the OpenAPI document of the API as it is configured.

    Needs neither a database nor a running service. A service serves the same document at /openapi.json, and that
    without webhooks at /openapi.json?webhooks=false.
    """
    with report_errors():
        settings = load_settings(os.environ)
        document = build_document(settings, api.operations, is_public=True, has_webhooks=webhooks)
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
