"""A provider that is declared entirely in `receiver.toml`: its requests, responses, callbacks, polls and lookups.

`receiver.schemas.declared` validates the tables. Here they are compiled once into capabilities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from receiver.providers.base import Provider
from receiver.providers.credentials import find_secrets
from receiver.providers.declared.callbacks import DeclaredCallbacks
from receiver.providers.declared.lookup import DeclaredLookup
from receiver.providers.declared.poller import DeclaredPoller
from receiver.providers.declared.requests import RequestAuth
from receiver.providers.declared.sender import DeclaredSender
from receiver.providers.samples import LocatedSamples
from receiver.providers.token_requests import TokenRequest


def build_declared(provider: Provider, tables: Mapping[str, Any]) -> Provider:
    """Add the declared capabilities to a provider, from the loaded tables of `DeclaredSettingsSchema`."""
    auth = tables["auth"]
    token_request = TokenRequest.from_table(auth) if auth and auth["scheme"] == "oauth2" else None
    token_secrets = token_request.secrets if token_request else ()
    computed_secrets = _find_computed_secrets(tables)
    return replace(
        provider,
        sender=DeclaredSender.from_tables(provider, tables),
        callbacks=DeclaredCallbacks.from_tables(tables),
        samples=LocatedSamples.from_table(tables["callback"]),
        poller=DeclaredPoller.from_tables(provider, tables) if tables["poll"] else None,
        lookup=DeclaredLookup.from_tables(provider, tables) if tables["lookup"] else None,
        credentials=_join_credentials(tables, token_request, computed_secrets),
        token_request=token_request,
        secrets=[*find_secrets(auth, tables["headers"]), *token_secrets, *computed_secrets],
    )


def _find_computed_secrets(tables: Mapping[str, Any]) -> list[str]:
    """Return the secrets that values of requests are computed from."""
    computed_tables = [table["computed"] for table in (*tables["operations"].values(), tables["poll"]) if table]
    return sorted({value.secret for table in computed_tables for value in table.values() if value.secret})


def _join_credentials(
    tables: Mapping[str, Any], token_request: TokenRequest | None, computed_secrets: Sequence[str]
) -> bytes:
    """Return all that authenticates our requests, also the secrets that values are computed from."""
    parts = [
        RequestAuth.from_tables(tables).credentials(),
        token_request.credentials() if token_request else b"",
        repr(computed_secrets).encode() if computed_secrets else b"",
    ]
    return b"".join(parts)
