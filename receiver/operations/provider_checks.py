"""How a provider is set up, and whether our account at it works, as the command line and the pages show it."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass

from receiver.domain.access_tokens import IssuedToken, TokenFailure
from receiver.domain.egress import TlsFiles
from receiver.domain.sending import Response
from receiver.exchange.access_tokens import request_token
from receiver.exchange.channels import build_http_client, build_token_endpoint_client
from receiver.providers.base import Provider
from receiver.settings import Settings
from receiver.signatures.base import CallbackAuth


@dataclass(frozen=True, slots=True)
class AccountResult:
    """The result of one check of our account: whether the provider accepts it, and a message for people."""

    succeeded: bool
    message: str


def describe_setup(settings: Settings, provider: Provider) -> dict[str, object]:
    """Return how a provider is set up, as JSON, without calling it."""
    callback_settings = provider.callbacks.settings if provider.callbacks else None
    auth = callback_settings.auth if callback_settings else None
    return {
        "name": provider.name,
        "callback_url": settings.callback_url(provider.name) or None,
        "methods": sorted(callback_settings.methods) if callback_settings else [],
        "handshakes": list(callback_settings.handshake_kinds) if callback_settings else [],
        "operations": list(provider.operations),
        "signature": _describe_signature(auth),
        "trust": auth.trust if auth else None,
        "proof": auth.describe_trust() if auth else None,
        "polled": provider.poller is not None,
        "looked_up": provider.lookup is not None,
        "max_per_second": provider.send_policy.max_per_second,
        "proxy": str(provider.egress.proxy) if provider.egress.proxy else None,
        "tls": _describe_tls(provider.egress.tls),
    }


def has_account_checks(provider: Provider) -> bool:
    """Return whether the provider has an endpoint that tells whether our account works."""
    return provider.token_request is not None or bool(provider.account_checks)


def check_account(provider: Provider) -> Mapping[str, AccountResult]:
    """Call the provider's account endpoints and return the result of each check by its name."""
    results, issued = {}, None
    if provider.token_request:
        with closing(build_token_endpoint_client(provider, provider.token_request)) as client:
            issued = request_token(client, provider.token_request)
        results["access_token"] = _describe_access_token(issued)
    with closing(build_http_client(provider)) as client:
        for name, check in provider.account_checks.items():
            outgoing = check.outgoing
            if provider.token_request and isinstance(issued, IssuedToken):
                outgoing = provider.token_request.authorize(outgoing, issued.text)
            outcome = client.exchange(outgoing)
            if not isinstance(outcome, Response):
                results[name] = AccountResult(False, f"{name}: no response: {outcome.error}")
            elif outcome.problem:
                results[name] = AccountResult(False, f"{name}: {outcome.problem}")
            else:
                results[name] = AccountResult(outcome.status == 200, check.format_result(outcome))
        return results


def _describe_signature(auth: CallbackAuth | None) -> str:
    if auth is None:
        return "none, as the provider does not call back"
    return auth.scheme_name if auth.scheme else "none, only the token in the URL"


def _describe_tls(files: TlsFiles) -> Mapping[str, str]:
    """Return the paths of the files that are set, by their keys."""
    return {key: str(path) for key, path in asdict(files).items() if path}


def _describe_access_token(issued: IssuedToken | TokenFailure) -> AccountResult:
    if isinstance(issued, IssuedToken):
        return AccountResult(True, f"access token: issued, expires in {issued.expires_in:g} s")
    return AccountResult(False, f"access token: {issued.error}")
