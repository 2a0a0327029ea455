"""`receiver request submit` and `submit-many`: submit one request from arguments, or a file of requests in batches."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import uuid4

import click

from receiver.cli import options
from receiver.cli.api import ApiError, Service, Unavailable, connect_service, iterate_errors
from receiver.cli.completion import complete_accounts, complete_operations, complete_providers
from receiver.cli.formats import Json
from receiver.cli.messages import print_message, show_progress
from receiver.cli.output import print_json
from receiver.cli.rendering import print_request
from receiver.domain.notifications import NotifyEvent
from receiver.domain.plurals import format_count
from receiver.domain.sending import DEFAULT_PRIORITY, HIGHEST_PRIORITY, LOWEST_PRIORITY, MAX_BATCH_SIZE

_MAX_BODY_CHARS = 1_000_000
"""The size of a batch; its JSON is ASCII, so that characters are bytes."""

_MAX_FAULTS_SHOWN = 20


class PayloadParameter(click.ParamType[Json]):
    """A JSON object: as text, as @FILE, or as - for stdin."""

    name = "json"

    def convert(self, value: str | Json, param: click.Parameter | None, ctx: click.Context | None) -> Json:
        if not isinstance(value, str):
            return value
        try:
            payload = parse_strict_json(_read_argument(value))
        except (OSError, ValueError) as error:
            self.fail(f"{error}. Pass a JSON object, @FILE, or - for stdin.", param, ctx)
        if not isinstance(payload, dict):
            self.fail("Must be a JSON object such as {}.", param, ctx)
        return payload


class _Submission(NamedTuple):
    """A submission in a file, as JSON text, and its place in the file, such as `line 7`."""

    place: str
    text: str


account_option = click.option(
    "--account", shell_complete=complete_accounts, help="The account at the provider, of those in the configuration."
)
metadata_option = click.option(
    "--metadata", multiple=True, type=options.PairParameter(), metavar="KEY=VALUE", help="Your own data; repeatable."
)
_add_notify_url = click.option(
    "--notify-url", metavar="URL", help="The URL for signed webhook notifications; see the API guide."
)
_add_notify_events = click.option(
    "--notify-event",
    "notify_events",
    multiple=True,
    type=click.Choice([event.value for event in NotifyEvent]),
    help="What the URL is notified of; request by default, repeatable.",
)


def notify_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of webhook notifications to a command."""
    return _add_notify_url(_add_notify_events(command))


@click.command()
@click.argument("provider", shell_complete=complete_providers)
@click.argument("operation", shell_complete=complete_operations)
@account_option
@click.option(
    "--payload", type=PayloadParameter(), default="{}", metavar="JSON|@FILE|-", help="The input of the operation."
)
@metadata_option
@click.option("--send-after", type=options.FUTURE_TIME, metavar="TIME", help="Not before; a time, or 2h from now.")
@click.option("--deadline", type=options.FUTURE_TIME, metavar="TIME", help="Not after; a time, or 2h from now.")
@click.option(
    "--priority",
    type=click.IntRange(LOWEST_PRIORITY, HIGHEST_PRIORITY),
    help=f"The highest is sent first; {DEFAULT_PRIORITY} by default.",
)
@notify_options
@click.option(
    "--idempotency-key",
    metavar="KEY",
    callback=options.check_header_value,
    help="Repeating the command with the same KEY submits nothing twice.",
)
@options.as_json
def submit(idempotency_key: str | None, as_json: bool, **params: Any) -> None:
    """Submit a request to a provider.

    Example: receiver request submit acme render --payload '{"scene": 7}' --metadata order=1042
    """
    accepted = post_idempotently("requests", params, idempotency_key)
    options.print_result(accepted, as_json, print_request)
    print_message(f"`receiver job wait --request {accepted['id']}` waits for its jobs")


@click.command("submit-many")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--idempotency-key",
    metavar="KEY",
    callback=options.check_header_value,
    help="A new KEY submits the same FILE once more.",
)
@options.as_json
def submit_many(file: IO[bytes], idempotency_key: str | None, as_json: bool) -> None:
    """Submit all requests of a file.

    FILE, or - for stdin, contains JSON Lines or one JSON array. Each item is a body of POST /v1/requests. Requests are
    submitted in batches, each of which is accepted completely or not at all. After a failure, repeat the command with
    the same FILE: accepted requests are not submitted twice.

    \b
    Example of a line:
    {"provider": "acme", "operation": "render", "payload": {"scene": 7}}
    """  # noqa: D301  # click's marker for lines that it must not rewrap
    batches = list(_split_batches(_parse_file(file.read())))
    total = sum(map(len, batches))
    accepted: list[Json] = []
    service = connect_service()
    try:
        with show_progress(f"0 of {total} submitted") as update:
            for number, batch in enumerate(batches):
                accepted += _submit_batch(service, number, batch, idempotency_key)
                update(f"{len(accepted)} of {total} submitted")
    finally:
        if as_json:
            print_json({"items": accepted, "next_cursor": None})
        print_message(f"{len(accepted):,} of {format_count(total, 'request')} submitted")


def post_idempotently(path: str, params: Json, idempotency_key: str | None) -> Json:
    """Post the parameters of a command, with a new idempotency key unless there is one; return the document.

    Raises:
        ApiError: the service does not return one; if no response came, the message has the key to repeat it with.
    """
    key = idempotency_key or str(uuid4())
    document = {**params, "metadata": dict(params["metadata"])}
    body = json.dumps({name: value for name, value in document.items() if value is not None and value != ()}).encode()
    try:
        created: Json = connect_service().post(path, body=body, headers={"idempotency-key": key})
    except Unavailable as error:
        raise ApiError(f"{error}\nRepeat it safely with --idempotency-key {key}: nothing is submitted twice.") from None
    return created


def parse_strict_json(text: str) -> Any:
    """Parse JSON without duplicate names.

    Raises:
        ValueError: the text is not JSON by RFC 8259, or an object repeats a name.
    """
    try:
        return json.loads(text, object_pairs_hook=_build_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _build_object(pairs: list[tuple[str, Any]]) -> Json:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object repeats a name")
    return members


def _refuse_constant(text: str) -> Any:
    """Refuse `NaN` and `Infinity`, which Python's parser accepts and RFC 8259 does not allow."""
    raise ValueError(f"{text} is not JSON")


def _read_argument(argument: str) -> str:
    if argument == "-":
        return _decode(sys.stdin.buffer.read())
    if argument.startswith("@"):
        return _decode(Path(argument[1:]).read_bytes())
    return argument


def _decode(content: bytes) -> str:
    """Decode UTF-8, with or without the byte order mark that some editors add."""
    return content.decode("utf-8-sig")


def _parse_file(content: bytes) -> list[_Submission]:
    """Return the submissions in a file.

    Raises:
        BadParameter: the file has faults; the message lists all of them, up to a limit.
    """
    submissions: list[_Submission] = []
    faults: list[str] = []
    try:
        for place, item in _parse_items(_decode(content)):
            if isinstance(item, dict):
                submissions.append(_Submission(place, json.dumps(item)))
            else:
                faults.append(f"{place}: {item if isinstance(item, ValueError) else 'Must be a JSON object.'}")
    except ValueError as error:
        faults.append(str(error))
    if not submissions and not faults:
        faults.append("Contains no requests.")
    if faults:
        remainder = [f"and {len(faults) - _MAX_FAULTS_SHOWN} more"] if len(faults) > _MAX_FAULTS_SHOWN else []
        raise click.BadParameter("\n".join(["", *faults[:_MAX_FAULTS_SHOWN], *remainder]), param_hint="FILE")
    return submissions


def _parse_items(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the place and the value of each item of JSON Lines or of one array; for a bad line, the error as value."""
    if text.lstrip().startswith("["):
        for number, item in enumerate(parse_strict_json(text), 1):
            yield f"item {number}", item
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", parse_strict_json(line)
            except ValueError as error:
                yield f"line {number}", error


def _split_batches(submissions: Sequence[_Submission]) -> Iterator[Sequence[_Submission]]:
    """Split submissions into batches within the service's limits for number and size."""
    batch: list[_Submission] = []
    size = 0
    for submission in submissions:
        if batch and (len(batch) == MAX_BATCH_SIZE or size + len(submission.text) > _MAX_BODY_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(submission)
        size += len(submission.text) + 1
    yield batch


def _submit_batch(service: Service, number: int, batch: Sequence[_Submission], prefix: str | None) -> Sequence[Json]:
    """Submit a batch and return its requests.

    The idempotency key follows from the content unless there is a prefix, so that a repeated command repeats the keys.
    """
    body = f'{{"requests":[{",".join(submission.text for submission in batch)}]}}'.encode()
    key = f"{prefix or sha256(body).hexdigest()}-{number}"
    try:
        items: list[Json] = service.post("requests", "batch", body=body, headers={"idempotency-key": key})["items"]
    except ApiError as error:
        lines = list(_locate_errors(batch, error)) or [str(error)]
        remedy = "Fix this and repeat the command: accepted requests are not submitted twice."
        raise ApiError("\n".join([f"Stopped at {batch[0].place} to {batch[-1].place}.", *lines, remedy])) from None
    return items


def _locate_errors(batch: Sequence[_Submission], error: ApiError) -> Iterator[str]:
    """Yield the errors of a batch with their places in the file instead of their indexes in the batch."""
    for place, message in iterate_errors(error.errors):
        index, _, field = place.removeprefix("requests.").partition(".")
        located = batch[int(index)].place if index.isdecimal() and int(index) < len(batch) else index
        yield f"{located}: {field}: {message}" if field else f"{located}: {message}"
