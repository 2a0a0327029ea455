"""The sandbox's process: listens, prints its URL on stdout, and serves until SIGTERM or SIGINT."""

import signal
import socket
from secrets import token_hex

import click
import gevent
import orjson
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from receiver.sandbox.app import create_app
from receiver.sandbox.callbacks import CallbackSender
from receiver.sandbox.ledger import Ledger
from receiver.signatures.base import InvalidSecret
from receiver.signatures.standard_webhooks import decode_key

BACKLOG = 1024
GRACE_S = 0.2


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of all responses and callbacks.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=int, default=0, help="The port; by default a free one.")
@click.option("--api-key", envvar="SANDBOX_API_KEY", required=True, show_envvar=True, help="The clients' key.")
@click.option(
    "--secret",
    envvar="SANDBOX_SECRET",
    required=True,
    show_envvar=True,
    help="Signs callbacks: whsec_...",
)
def main(seed: int, host: str, port: int, api_key: str, secret: str) -> None:
    """Run a provider that misbehaves on purpose. Prints {"url": ...} when it listens."""
    try:
        key = decode_key(secret)
    except InvalidSecret as error:
        raise click.BadParameter(str(error), param_hint="--secret") from None
    ledger = Ledger(seed, run=f"sbx-{token_hex(4)}")
    callbacks = CallbackSender(ledger, key)
    listener = _listen(host, port)
    server = WSGIServer(listener, create_app(ledger, callbacks, api_key), log=None, spawn=Pool())
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopping.set)
    server.start()
    click.echo(orjson.dumps({"url": f"http://{host}:{server.server_port}"}))
    stopping.wait()
    callbacks.stop()
    server.stop(timeout=GRACE_S)


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket without Nagle's delay: pywsgi writes headers and body separately."""
    listener = socket.create_server((host, port), backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
