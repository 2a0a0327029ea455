"""A provider with OAuth 2.0: a real HTTP server whose token endpoint counts, and whose API takes what it issued."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from receiver.providers.base import Provider as AnyProvider
from receiver.providers.registry import build_provider
from tests.support.factories import SECRET
from tests.support.provider import MAX_WAIT_S, Provider, Received, Reply

CLIENT_SECRET = "the-client-secret"
NAME = "pay"


class OAuthProvider(Provider):
    """Issues `token-1`, `token-2` and so on.

    Attributes:
        token_replies: replies of the token endpoint that come first, each once.
        refused: the tokens that the API does not take, or not any more.
        released: the token endpoint replies when it is set.
        expires_in: the lifetime in seconds as responses state it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.token_replies: list[Reply] = []
        self.refused: set[str] = set()
        self.expires_in: object = 3599
        self.released = Event()
        self.released.set()
        self._issued_count = 0

    @property
    def token_requests(self) -> list[Received]:
        """The requests that the token endpoint received."""
        return [received for received in self.received if received.path.startswith("/token")]

    @property
    def tokens(self) -> list[str]:
        """The tokens that the API received, in order."""
        calls = [received for received in self.received if not received.path.startswith("/token")]
        return [call.headers["authorization"].removeprefix("Bearer ") for call in calls]

    def response(self, received: Received) -> Reply:
        self.received.append(received)
        if received.path.startswith("/token"):
            assert self.released.wait(MAX_WAIT_S)
            return self.token_replies.pop(0) if self.token_replies else self.issue()
        token = received.headers["authorization"].removeprefix("Bearer ")
        issued = {f"token-{number}" for number in range(1, self._issued_count + 1)}
        if token not in issued - self.refused:
            return Reply(401)
        if received.method == "GET":
            return Reply(200, json.dumps({"id": received.name, "state": "DONE"}).encode())
        return Reply(202, json.dumps({"id": f"job-{received.name}", "echo": token}).encode())

    def issue(self) -> Reply:
        """Return a reply with the next token."""
        self._issued_count += 1
        document = {"access_token": f"token-{self._issued_count}", "expires_in": self.expires_in}
        return Reply(200, json.dumps(document).encode())

    def build_table(self, client_secret: str = CLIENT_SECRET, **more: object) -> dict[str, object]:
        """Return the provider's table for `receiver.toml`; `more` are further keys."""
        return {
            "kind": "declared",
            "base_url": self.url,
            "retry": {"base": 0.05, "max": 0.1},
            "auth": {
                "scheme": "oauth2",
                "token_url": f"{self.url}/token",
                "client_id": "our-id",
                "client_secret": client_secret,
            },
            "signature": {"scheme": "standard-webhooks", "secrets": [SECRET]},
            "operations": {"send": {"path": "/v1/jobs"}},
            "response": {"reference": "id"},
            "callback": {"reference": "id", "status": "state", "statuses": {"DONE": "succeeded"}},
            "poll": {"path": "/v1/jobs/{reference}", "first_after": 0.1, "max_interval": 1},
            **more,
        }

    def build_provider(self, client_secret: str = CLIENT_SECRET) -> AnyProvider:
        """Build the configured provider."""
        return build_provider(NAME, self.build_table(client_secret))

    def build_toml(self, client_secret: str = CLIENT_SECRET, **more: object) -> str:
        """Return `receiver.toml` with the provider; see `build_table`."""
        lines = [f"[providers.{NAME}]"]
        lines += [f"{name} = {_format_toml(value)}" for name, value in self.build_table(client_secret, **more).items()]
        return "\n".join(lines)


def _format_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_format_toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value)


@contextmanager
def oauth_provider() -> Iterator[OAuthProvider]:
    """A provider with OAuth 2.0 that listens until the context ends."""
    provider = OAuthProvider()
    try:
        provider.listen()
        yield provider
    finally:
        provider.released.set()
        provider.close()
