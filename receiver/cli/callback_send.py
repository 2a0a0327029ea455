"""`receiver callback send`: signs a sample of a callback with the configured secret, and posts it to our own URL."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from http.client import HTTPException
from typing import IO, NamedTuple
from urllib.parse import SplitResult
from uuid import uuid4

import click
import orjson

from receiver.cli.api import ApiError, Unavailable, iterate_errors, open_connection, parse_url
from receiver.cli.completion import complete_accounts, complete_providers
from receiver.cli.errors import report_errors
from receiver.cli.formats import Json
from receiver.cli.messages import print_message
from receiver.cli.output import print_fields, print_json, print_text
from receiver.domain.accounts import join_account, list_accounts, list_base_names
from receiver.domain.callbacks import IncomingCallback
from receiver.domain.documents.writer import CONTENT_TYPES
from receiver.domain.egress import PRODUCT
from receiver.domain.jobs import StatusReport
from receiver.domain.suggestions import format_list_suggestion
from receiver.providers.base import Provider
from receiver.providers.capabilities import CallbackSettings, MalformedCallback, NoSample
from receiver.settings import build_callback_target, load_settings
from receiver.signatures.base import InvalidSecret
from receiver.signatures.private_keys import PrivateKey, parse_private_key
from receiver.signatures.signers import CannotSign, Signer
from receiver.signatures.signing import sign_callback

_TIMEOUT_S = 30.0
_HEADER = re.compile(r"([!#$%&'*+.^`|~0-9A-Za-z-]+):[ \t]*([ -~\xa0-\xff]*)")
_REMEDIES = {
    400: "`receiver callback list --provider {provider} --verdict invalid` lists it.",
    404: "The service runs with other settings than these: reload its configuration (SIGHUP), or correct --url.",
}
_EXPLAIN = "`receiver callback explain --provider {provider}` shows why."


class HeaderParameter(click.ParamType[tuple[str, str]]):
    """NAME:VALUE."""

    name = "name:value"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if not isinstance(value, str):
            return value
        match = _HEADER.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is not NAME:VALUE, a header without an underscore in its name.", param, ctx)
        return match[1].lower(), match[2]


class CallbackResponse(NamedTuple):
    """The response to a callback."""

    status: int
    body: bytes

    @property
    def is_accepted(self) -> bool:
        """Whether the callback was accepted."""
        return 200 <= self.status < 300

    @property
    def problem(self) -> Json:
        """The problem of a refusal; empty if there is none, as in a response of another service."""
        try:
            document = None if self.is_accepted else orjson.loads(self.body)
        except orjson.JSONDecodeError:
            document = None
        return document if isinstance(document, dict) else {}


@click.command()
@click.argument("provider", metavar="PROVIDER", shell_complete=complete_providers)
@click.option("--account", metavar="NAME", shell_complete=complete_accounts, help="An account of the provider.")
@click.option("--reference", help="The reference of the job.")
@click.option("--status", help="One of the provider's statuses, as in `statuses` of its settings.")
@click.option(
    "--body",
    "body_file",
    type=click.File("rb"),
    metavar="FILE",
    help="Send the content of this file instead of a sample; - for stdin.",
)
@click.option(
    "--header", "headers", type=HeaderParameter(), multiple=True, metavar="NAME:VALUE", help="Send this header, too."
)
@click.option(
    "--signing-key",
    "key_file",
    type=click.File("rb"),
    metavar="FILE",
    help="The private key in PEM, for a provider with public keys.",
)
@click.option("--url", help="Post to this service or callback URL, by default to http://127.0.0.1:PORT.")
@click.option("--print", "prints_only", is_flag=True, help="Print the signed callback and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def send(
    *,
    provider: str,
    account: str | None,
    reference: str | None,
    status: str | None,
    body_file: IO[bytes] | None,
    headers: Sequence[tuple[str, str]],
    key_file: IO[bytes] | None,
    url: str | None,
    prints_only: bool,
    as_json: bool,
) -> None:
    """Send a signed sample of a callback, for development and smoke tests.

    Signs the callback with the first secret of the provider in the settings of this machine, as the provider would for
    the URL that `receiver provider check` prints, and posts it to the service. The service processes it like any
    other callback, so that it changes the job. Prints the acknowledgement. Exits 1 if the callback was refused.

    A provider with public keys requires the private key of one of them, in --signing-key.

    Example: receiver callback send acme --reference 4711 --status DONE
    """
    with report_errors():
        settings = load_settings(os.environ)
    configured = _find_provider(settings.providers, provider, account)
    if configured.callbacks is None:
        raise click.UsageError(f"The provider {configured.name} has no callbacks.")
    callback_settings = configured.callbacks.settings
    signer = Signer(datetime.now(UTC), uuid4().hex, _read_private_key(key_file))
    target = build_callback_target(configured.name, callback_settings.auth)
    if body_file is None:
        callback = _build_sample(configured, target, reference, status, signer)
    elif reference is not None or status is not None:
        raise click.UsageError("The body has the reference and the status: omit --reference and --status.")
    else:
        callback = _build_callback(callback_settings, target, body_file.read(), signer.now)
    callback = replace(callback, headers={**callback.headers, **dict(headers)}, public_url=settings.public_url)
    try:
        signed = sign_callback(callback_settings.auth, callback, signer)
    except CannotSign as error:
        raise click.UsageError(str(error)) from None
    destination = _find_destination(url or f"http://127.0.0.1:{settings.port}", signed)
    redacted = callback_settings.auth.redact(signed)
    document = {
        "provider": provider,
        "account": account,
        "method": signed.method,
        "url": callback_settings.auth.redactor.redact_text(destination.geturl()),
    }
    if prints_only:
        _print_callback(document, redacted, as_json=as_json)
        if redacted != signed:
            print_message("secrets are not shown: without --print they are sent")
    else:
        _report(document, _post(destination, signed), as_json=as_json)
        if reference is not None:
            print_message(_format_cleanup(provider, account, reference))


def _find_provider(providers: Mapping[str, Provider], name: str, account: str | None) -> Provider:
    base_names, accounts = list_base_names(providers), list_accounts(providers, name)
    if name not in base_names:
        suggestion = format_list_suggestion(name, base_names)
        raise _build_choice_error("provider", f"Must be one of: {', '.join(base_names) or 'none'}.{suggestion}")
    configured = providers.get(join_account(name, account))
    if configured is None:
        suggestion = format_list_suggestion(account or "", accounts)
        raise _build_choice_error("--account", f"Must be one of: {', '.join(accounts) or 'none'}.{suggestion}")
    return configured


def _build_choice_error(name: str, message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint=f"'{name}'")


def _read_private_key(file: IO[bytes] | None) -> PrivateKey | None:
    try:
        return parse_private_key(file.read()) if file else None
    except InvalidSecret as error:
        raise _build_choice_error("--signing-key", str(error)) from None


def _build_sample(
    provider: Provider, target: str, reference: str | None, status: str | None, signer: Signer
) -> IncomingCallback:
    """Return a sample of a callback of a provider.

    Raises:
        UsageError: there is no sample with this reference and status.
    """
    samples = provider.samples
    if samples is None:
        raise click.UsageError("The provider has no samples: pass the body of a callback with --body FILE.")
    if not reference or (status is None and samples.statuses):
        raise click.UsageError("Pass --reference and --status, or the body of a callback with --body FILE.")
    spelled_status = samples.find_status(status or "") if samples.statuses else status or ""
    if spelled_status is None:
        suggestion = format_list_suggestion(status or "", samples.statuses)
        raise _build_choice_error("--status", f"Must be one of: {', '.join(samples.statuses)}.{suggestion}")
    try:
        sample = samples.build(target, reference, spelled_status, signer.now, signer.unique_id)
    except NoSample as error:
        raise click.UsageError(f"{error} Pass the body of a callback with --body FILE.") from None
    if not _names_job(provider, sample, reference):
        message = f"The reference {reference} does not have the form that those of the provider have."
        raise click.UsageError(f"{message} Pass the body of a callback with --body FILE.")
    return sample


def _names_job(provider: Provider, callback: IncomingCallback, reference: str) -> bool:
    """Return whether a callback is about the job with a reference."""
    try:
        items = list(provider.require_callbacks().parse(callback))
    except MalformedCallback:
        return False
    return any(isinstance(item, StatusReport) and item.reference == reference for _, item in items)


def _build_callback(settings: CallbackSettings, target: str, body: bytes, now: datetime) -> IncomingCallback:
    """Return a callback with a body of the user's, which is the query of a callback that is read from it."""
    method = "POST" if "POST" in settings.methods else min(settings.methods)
    if settings.body_kind == "query" or method == "GET":
        return IncomingCallback(method, f"{target}?{body.decode('latin-1').strip()}", {}, b"", now)
    return IncomingCallback(method, target, {"content-type": CONTENT_TYPES[settings.body_kind]}, body, now)


def _find_destination(url: str, signed: IncomingCallback) -> SplitResult:
    """Return the URL to post to: a callback URL as it is, or the callback's path at a service."""
    parsed = parse_url(url)
    if parsed is None or parsed.query or parsed.fragment:
        raise _build_choice_error("--url", "Not a valid URL of a service, or of a callback without its query.")
    path = signed.target.partition("?")[0] if parsed.path in {"", "/"} else parsed.path
    return parsed._replace(path=path, query=signed.query)


def _post(destination: SplitResult, callback: IncomingCallback) -> CallbackResponse:
    """Send a callback, and return the response.

    Raises:
        ApiError: there is no response.
    """
    target = f"{destination.path}?{destination.query}" if destination.query else destination.path
    with closing(open_connection(destination, _TIMEOUT_S, "Pass another --url")) as connection:
        connection.sock.settimeout(_TIMEOUT_S)
        try:
            headers = {"user-agent": PRODUCT, **callback.headers}
            connection.request(callback.method, target, callback.body or None, headers)
            received = connection.getresponse()
            return CallbackResponse(received.status, received.read())
        except (OSError, HTTPException) as error:
            origin = f"{destination.scheme}://{destination.netloc}"
            raise Unavailable(f"No response from {origin}: {error or type(error).__name__}.") from None


def _print_callback(document: Json, callback: IncomingCallback, *, as_json: bool) -> None:
    """Print a callback without its secrets, as a command of curl or as JSON."""
    body = callback.body.decode("utf-8", "backslashreplace")
    if as_json:
        print_json({**document, "headers": dict(callback.headers), "body": body})
        return
    lines = [f"curl -X {callback.method} {shlex.quote(str(document['url']))}"]
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in callback.headers.items()]
    lines += [f"--data-binary {shlex.quote(body)}"] if body else []
    print_text(" \\\n  ".join(lines))


def _report(document: Json, response: CallbackResponse, *, as_json: bool) -> None:
    """Print what became of a callback.

    Raises:
        ApiError: it was refused.
    """
    report = {
        **document,
        "status": response.status,
        "acknowledgement": response.body.decode("utf-8", "replace") if response.is_accepted else None,
        "detail": response.problem.get("detail"),
    }
    if as_json:
        print_json(report)
    elif response.is_accepted:
        print_fields({name: report[name] for name in ("provider", "account", "url", "status", "acknowledgement")})
    if not response.is_accepted:
        raise ApiError(_format_refusal(document, response))


def _format_cleanup(provider: str, account: str | None, reference: str) -> str:
    """Return what to do about the job of a sample that no request has."""
    selection = [provider, reference, *(["--account", account] if account else [])]
    return (
        f"without a request of this reference, its job is `unmatched` and needs attention until you run "
        f"`receiver request track {shlex.join(selection)}`"
    )


def _format_refusal(document: Json, response: CallbackResponse) -> str:
    problem = response.problem
    if not problem:
        return f"{document['url']} responded with {response.status}, and not as a receiver service does. Correct --url."
    selection = f"{document['provider']}" + (f" --account {document['account']}" if document["account"] else "")
    errors = [f"{place}: {message}" for place, message in iterate_errors(problem.get("errors") or {})]
    remedy = _REMEDIES.get(response.status, _EXPLAIN if response.status < 500 else "").format(provider=selection)
    detail = str(problem.get("detail", problem.get("title"))).partition("; see `errors`")[0].rstrip(".")
    return "\n".join(filter(None, [f"Refused with {response.status}: {detail}.", *errors, remedy]))
