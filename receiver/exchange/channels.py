"""Channels to providers: for each provider its HTTP client, its admission, and the callback URL that it is given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from receiver.exchange.access_tokens import AccessTokens, TokenClient
from receiver.exchange.admission import Admission
from receiver.exchange.client import Client, HttpClient
from receiver.exchange.rate_limiter import RateLimiter
from receiver.exchange.token_cipher import TokenCipher
from receiver.exchange.webhook_client import WebhookClient
from receiver.providers.base import Provider
from receiver.store.database import Database


@dataclass(frozen=True, slots=True)
class Channel:
    """The channel to one provider; `credentials` is the fingerprint of the credentials that we use."""

    provider: Provider
    admission: Admission
    client: Client
    callback_url: str
    credentials: str


class Channels(Mapping[str, Channel]):
    """The channels of one process by provider name; closed at the end of the context.

    The caller must renew the shares regularly, see `RateLimiter.renew`. Access tokens are encrypted with `secret_keys`.
    """

    def __init__(
        self,
        database: Database,
        providers: Mapping[str, Provider],
        callback_urls: Mapping[str, str],
        secret_keys: Sequence[str] = (),
    ) -> None:
        cipher = TokenCipher(secret_keys)
        self.rate_limiter = RateLimiter(
            database, {name: provider.send_policy.limit_policy for name, provider in providers.items()}
        )
        self._channels = {
            name: Channel(
                provider,
                self.rate_limiter[name],
                _build_client(provider, database, cipher),
                callback_urls[name],
                provider.fingerprint,
            )
            for name, provider in providers.items()
        }

    def __getitem__(self, provider: str) -> Channel:
        return self._channels[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(self._channels)

    def __len__(self) -> int:
        return len(self._channels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rate_limiter.close()
        for channel in self.values():
            channel.client.close()


def _build_client(provider: Provider, database: Database, cipher: TokenCipher) -> Client:
    if provider.target_rules:
        return WebhookClient(provider.target_rules, provider.send_policy, provider.egress)
    client, token_request = build_http_client(provider, provider.origin), provider.token_request
    if token_request is None:
        return client
    build_token_client = partial(build_http_client, provider, token_request.origin)
    return TokenClient(
        client, AccessTokens(database, provider, token_request, cipher, build_token_client), token_request
    )


def build_http_client(provider: Provider, origin: str) -> HttpClient:
    """Build the HTTP client for one of the origins of a provider: that of its API, or of its token endpoint."""
    return HttpClient(origin, provider.send_policy, egress=provider.egress)
