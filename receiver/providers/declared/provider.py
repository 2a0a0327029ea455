"""A provider that is declared entirely in `receiver.toml`: its requests, responses, callbacks, polls and lookups.

`receiver.schemas.declared` validates the tables. Here they are compiled once into capabilities.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from receiver.providers.base import Provider
from receiver.providers.declared.callbacks import DeclaredCallbacks
from receiver.providers.declared.lookup import DeclaredLookup
from receiver.providers.declared.poller import DeclaredPoller
from receiver.providers.declared.requests import RequestAuth
from receiver.providers.declared.sender import DeclaredSender
from receiver.providers.token_requests import TokenRequest


def build_declared(provider: Provider, tables: Mapping[str, Any]) -> Provider:
    """Add the declared capabilities to a provider, from the loaded tables of `DeclaredSettingsSchema`."""
    auth = tables["auth"]
    token_request = TokenRequest.from_table(auth) if auth and auth["scheme"] == "oauth2" else None
    return replace(
        provider,
        sender=DeclaredSender.from_tables(provider, tables),
        callbacks=DeclaredCallbacks.from_tables(tables),
        poller=DeclaredPoller.from_tables(provider, tables) if tables["poll"] else None,
        lookup=DeclaredLookup.from_tables(provider, tables) if tables["lookup"] else None,
        credentials=_join_credentials(tables, token_request),
        token_request=token_request,
    )


def _join_credentials(tables: Mapping[str, Any], token_request: TokenRequest | None) -> bytes:
    """Return all that authenticates our requests, also the secrets that values are computed from."""
    computed_tables = [table["computed"] for table in (*tables["operations"].values(), tables["poll"]) if table]
    secrets = sorted({value.secret for table in computed_tables for value in table.values() if value.secret})
    parts = [
        RequestAuth.from_tables(tables).credentials(),
        token_request.credentials() if token_request else b"",
        repr(secrets).encode() if secrets else b"",
    ]
    return b"".join(parts)
