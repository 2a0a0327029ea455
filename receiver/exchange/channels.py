"""Channels to providers: for each provider its HTTP client, its admission, and the callback URL that it is given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Self

from receiver.exchange.access_tokens import AccessTokens, TokenClient
from receiver.exchange.admission import Admission
from receiver.exchange.client import Client, HttpClient
from receiver.exchange.rate_limiter import RateLimiter
from receiver.exchange.token_cipher import TokenCipher
from receiver.exchange.webhook_client import WebhookClient
from receiver.providers.base import Provider
from receiver.providers.token_requests import TokenRequest
from receiver.store.database import Database


class Channel:
    """The channel to one provider; `credentials` is the fingerprint of the credentials that we use."""

    def __init__(
        self,
        provider: Provider,
        admission: Admission,
        callback_url: str,
        build_client: Callable[[Provider], Client],
    ) -> None:
        self._build_client = build_client
        self.provider = provider
        self.admission = admission
        self.callback_url = callback_url
        self.credentials = provider.fingerprint

    @cached_property
    def client(self) -> Client:
        """The HTTP client, built when it is first used: most accounts of a provider are idle."""
        return self._build_client(self.provider)

    def close(self) -> None:
        """Close idle connections, and those in use as soon as their exchange has ended."""
        if "client" in self.__dict__:
            self.client.close()


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
        self._build_client = partial(_build_client, database=database, cipher=TokenCipher(secret_keys))
        self.rate_limiter = RateLimiter(database)
        self._channels: Mapping[str, Channel] = {}
        self.configure(providers, callback_urls)

    def configure(self, providers: Mapping[str, Provider], callback_urls: Mapping[str, str]) -> None:
        """Use these providers from now on.

        The channel of a provider that has not changed stays. Exchanges in flight on other channels end as they began.
        """
        self.rate_limiter.configure({name: provider.send_policy.limit_policy for name, provider in providers.items()})
        channels: dict[str, Channel] = {}
        for name, provider in providers.items():
            channel = self._channels.get(name)
            is_same = channel and channel.provider is provider and channel.callback_url == callback_urls[name]
            channels[name] = channel if channel and is_same else self._build_channel(provider, callback_urls[name])
        replaced = [channel for name, channel in self._channels.items() if channels.get(name) is not channel]
        self._channels = channels
        for channel in replaced:
            channel.close()

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The providers in use."""
        return {name: channel.provider for name, channel in self._channels.items()}

    def _build_channel(self, provider: Provider, callback_url: str) -> Channel:
        return Channel(provider, self.rate_limiter[provider.name], callback_url, self._build_client)

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
            channel.close()


def _build_client(provider: Provider, database: Database, cipher: TokenCipher) -> Client:
    if provider.target_rules:
        return WebhookClient(provider.target_rules, provider.send_policy, provider.egress)
    client, token_request = build_http_client(provider), provider.token_request
    if token_request is None:
        return client
    tokens = AccessTokens(
        database, provider, token_request, cipher, partial(build_token_endpoint_client, provider, token_request)
    )
    return TokenClient(client, tokens, token_request)


def build_http_client(provider: Provider) -> HttpClient:
    """Build the HTTP client for the API of a provider."""
    return HttpClient(provider.origin, provider.send_policy, egress=provider.egress)


def build_token_endpoint_client(provider: Provider, token_request: TokenRequest) -> HttpClient:
    """Build the HTTP client for the token endpoint of a provider."""
    return HttpClient(token_request.origin, provider.send_policy, egress=provider.egress.for_token_endpoint())
