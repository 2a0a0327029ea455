"""A provider that is declared entirely in `receiver.toml`: its requests, responses, callbacks, polls and lookups.

`receiver.schemas.declared` validates the tables. Here they are compiled once into capabilities.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from receiver.providers.base import Provider
from receiver.providers.credentials import find_secrets
from receiver.providers.declared.callbacks import DeclaredCallbacks
from receiver.providers.declared.lookup import DeclaredLookup
from receiver.providers.declared.poller import DeclaredPoller
from receiver.providers.declared.requests import RequestAuth
from receiver.providers.declared.sender import DeclaredSender


def build_declared(provider: Provider, tables: Mapping[str, Any]) -> Provider:
    """Add the declared capabilities to a provider, from the loaded tables of `DeclaredSettingsSchema`."""
    return replace(
        provider,
        sender=DeclaredSender.from_tables(provider, tables),
        callbacks=DeclaredCallbacks.from_tables(tables),
        poller=DeclaredPoller.from_tables(provider, tables) if tables["poll"] else None,
        lookup=DeclaredLookup.from_tables(provider, tables) if tables["lookup"] else None,
        credentials=RequestAuth.from_tables(tables).credentials(),
        secrets=find_secrets(tables["auth"], tables["headers"]),
    )
