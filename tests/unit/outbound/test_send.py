"""What is stored of a response to a request."""

from dataclasses import replace

from receiver.domain.sending import Response
from receiver.exchange.work import CompletedExchange
from receiver.outbound.send import SendTask
from receiver.providers.capabilities import CallbackSettings
from receiver.signatures.base import CallbackAuth
from tests.support.factories import NOON, attempt, provider

TOKEN = "an-unguessable-token"


def test_url_token_in_response_is_not_stored() -> None:
    callbacks = replace(provider().require_callbacks(), settings=CallbackSettings(CallbackAuth(None, (TOKEN,))))
    tokened = replace(provider(), callbacks=callbacks)
    url = f"https://receiver.example/callbacks/sandbox/{TOKEN}"
    response = Response(202, {"x-callback": url}, f'{{"webhook": "{url}"}}'.encode())
    exchange = CompletedExchange(tokened, attempt(), response, NOON, 0.0)
    stored = SendTask({"sandbox": tokened}).interpret(exchange).update.outcome
    assert isinstance(stored, Response)
    assert TOKEN not in stored.headers["x-callback"] + stored.body.decode()
    assert "https://receiver.example/callbacks/sandbox/" in stored.body.decode()
