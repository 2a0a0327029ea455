"""What there is to know of an entry of the catalog in one line each, by short titles."""

from collections.abc import Mapping, Sequence
from typing import Any

from receiver.domain.sending import OnAmbiguous
from receiver.providers.base import Provider
from receiver.providers.catalog.configuration import find_url_token
from receiver.providers.catalog.entries import CatalogEntry

CALLBACK_URL, END_OF_URL, REGISTRATION = "Callback URL", "End of the URL", "Registration"
URL_FACTS = (CALLBACK_URL, END_OF_URL, REGISTRATION)
"""The titles of the facts about the callback URL, which belong together."""

_BODY_TITLES: Mapping[str, str] = {
    "json": "JSON",
    "form": "a form",
    "multipart": "multipart",
    "xml": "XML",
    "query": "its values in the query",
}
_ON_AMBIGUOUS: Mapping[OnAmbiguous, str] = {
    OnAmbiguous.HOLD: "The request is `unknown` until a callback, a late response or an operator settles it.",
    OnAmbiguous.RETRY: "The request is sent again.",
}


def list_facts(entry: CatalogEntry, provider: Provider, callback_url: str, sending: Sequence[str]) -> Mapping[str, str]:
    """Return the facts of an entry; those that do not apply are left out.

    Args:
        entry: the entry.
        provider: a provider of the entry.
        callback_url: the callback URL.
        sending: the names of the operations that send the callback URL.
    """
    table = entry.table
    settings = provider.require_callbacks().settings
    facts = {
        CALLBACK_URL: f"`{callback_url}`",
        END_OF_URL: " ".join(f"{name.upper()} is the value of `{name}`." for name in find_url_token(entry)),
        REGISTRATION: _describe_registration(sending, list(table.get("operations", {}))),
        "Callbacks": f"{join_words(sorted(settings.methods))} with {_BODY_TITLES[settings.body_kind]}"
        + ("; each only causes a poll" if table["callback"].get("fetch") else ""),
        "Acknowledgement": f"{settings.ack.status} `{settings.ack.body.decode()}`".removesuffix(" ``"),
        "Checks of the URL": ", ".join(f"`{kind}`" for kind in dict.fromkeys(settings.handshake_kinds)),
        "Signature": f"`{settings.auth.scheme_name}`" if settings.auth.scheme else "none, only the token in the URL",
        "Trust": f"`{settings.auth.trust}`: {settings.auth.describe_trust()}",
        "Callers": ", ".join(f"`{network}`" for network in settings.auth.allow_from),
        "Polling": _describe_poll(table.get("poll")),
    }
    if table.get("operations"):
        facts |= {
            "Base URL": f"`{format_template(table['base_url'])}`",
            "Without a response": _ON_AMBIGUOUS[provider.retry_rules.on_ambiguous],
            "Limits": _format_limits(table),
        }
    facts["Verified by"] = format_verified(entry.verified)
    return {title: text for title, text in facts.items() if text}


def format_verified(verified: Mapping[str, str]) -> str:
    """Return what the parts of an entry were verified by, as text."""
    others = [part for part, source in verified.items() if source != "vendor"]
    if len(others) == len(verified):
        return "other sources"
    return f"vendor's documents{f', except {join_words(others)}' if others else ''}"


def join_words(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def format_template(text: str) -> str:
    """Return a text of an entry with the names of parameters in braces."""
    return text.replace("${", "{")


def _describe_registration(sending: Sequence[str], operations: Sequence[str]) -> str:
    """Return how the provider learns the callback URL."""
    if not sending:
        return "Register the URL at the provider."
    if len(sending) == len(operations):
        return "The URL is sent with each request."
    names = join_words([f"`{name}`" for name in sending])
    return f"The URL is sent with {names}. For all else, register it at the provider."


def _describe_poll(poll: Mapping[str, Any] | None) -> str:
    if poll is None:
        return "none: without a callback, a job stays open until its deadline"
    if "path" not in poll:
        return "at the URL that the response to the request names"
    return f"`{poll.get('method', 'GET')} {format_template(poll['path'])}`"


def _format_limits(table: Mapping[str, Any]) -> str:
    limits = [("max_per_second", "{:g} exchanges per second"), ("max_concurrency", "{:g} exchanges at once")]
    return ", ".join(text.format(table[key]) for key, text in limits if key in table)
