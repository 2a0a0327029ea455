"""The sandbox as a process: listens, says where on stdout, and serves until SIGTERM or SIGINT."""

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
GRACE_SECONDS = 0.2


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Decides every answer and callback.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=0, help="0, the default, takes a free one.")
@click.option("--api-key", envvar="SANDBOX_API_KEY", required=True, show_envvar=True, help="What clients must send.")
@click.option("--secret", envvar="SANDBOX_SECRET", required=True, show_envvar=True, help="Signs callbacks: whsec_...")
def main(seed: int, host: str, port: int, api_key: str, secret: str) -> None:
    """Run a provider that misbehaves on purpose. Prints {"url": ...} once it listens."""
    try:
        key = decode_key(secret)
    except InvalidSecret as fault:
        raise click.BadParameter(str(fault), param_hint="--secret") from None
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
    server.stop(timeout=GRACE_SECONDS)


def _listen(host: str, port: int) -> socket.socket:
    """Give a listening socket whose connections send at once: pywsgi writes headers and body apart."""
    listener = socket.create_server((host, port), backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
