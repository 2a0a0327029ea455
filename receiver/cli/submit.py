"""`receiver request submit` and `submit-many`: what is to be sent, as arguments or from a file of many."""

import json
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import uuid4

import click

from receiver.cli import options
from receiver.cli.api import ApiError, Service, Unavailable, connect_service, flatten_errors
from receiver.cli.output import Json, print_json, print_message, show_progress
from receiver.cli.rendering import print_request
from receiver.schemas.api.requests import MOST_IN_BATCH

_LARGEST_BODY = 1_000_000
_MOST_FAULTS = 20


class PayloadParameter(click.ParamType[Json]):
    """A JSON object: as it is, in a file, or on stdin."""

    name = "json"

    def convert(self, value: str | Json, param: click.Parameter | None, ctx: click.Context | None) -> Json:
        if not isinstance(value, str):
            return value
        try:
            found = strict_json(_text_of(value))
        except (OSError, ValueError) as error:
            self.fail(f"{error}; give a JSON object, @FILE, or - for stdin", param, ctx)
        if not isinstance(found, dict):
            self.fail("must be a JSON object such as {}", param, ctx)
        return found


class _Part(NamedTuple):
    """One submission of a file; `place` says where in it."""

    place: str
    text: str


@click.command()
@click.argument("provider")
@click.argument("operation")
@click.option(
    "--payload", type=PayloadParameter(), default="{}", metavar="JSON|@FILE|-", help="What the operation takes."
)
@click.option("--metadata", multiple=True, type=options.PairParameter(), metavar="KEY=VALUE", help="Yours; repeatable.")
@click.option("--send-after", type=options.AHEAD, metavar="TIME", help="Not before; a time, or 2h from now.")
@click.option("--deadline", type=options.AHEAD, metavar="TIME", help="Not later; a time, or 2h from now.")
@click.option("--notify-url", metavar="URL", help="Called, signed, once it is over; see the guide to the API.")
@click.option(
    "--idempotency-key", metavar="KEY", callback=options.visible, help="Repeat with it: nothing is sent twice."
)
@options.as_json
def submit(metadata: Sequence[tuple[str, str]], idempotency_key: str | None, as_json: bool, **given: Any) -> None:
    """Submit a request to a provider.

    Example: receiver request submit acme render --payload '{"scene": 7}' --metadata order=1042
    """
    key = idempotency_key or str(uuid4())
    wanted = {**given, "metadata": dict(metadata)}
    body = json.dumps({name: value for name, value in wanted.items() if value is not None}).encode()
    try:
        taken = connect_service().post("requests", body=body, headers={"idempotency-key": key})
    except Unavailable as error:
        raise ApiError(f"{error}\nrepeat it with --idempotency-key {key}, and it is not sent twice") from None
    options.print_result(taken, as_json, print_request)
    print_message(f"`receiver job wait --request {taken['id']}` waits for its jobs")


@click.command("submit-many")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--idempotency-key", metavar="KEY", callback=options.visible, help="A new one sends the same FILE once more."
)
@options.as_json
def submit_many(file: IO[bytes], idempotency_key: str | None, as_json: bool) -> None:
    """Submit all requests of a file.

    FILE, - for stdin, holds JSON Lines or one JSON array, each item as POST /v1/requests takes it. They go in
    batches, each taken whole or not at all. Repeat the command with the same FILE if it did not end well: what was
    taken is not sent twice.

    \b
    Example of a line:
    {"provider": "acme", "operation": "render", "payload": {"scene": 7}}
    """  # noqa: D301  # click's mark for lines that stay
    batches = list(_batches(_parts(file.read())))
    total = sum(map(len, batches))
    taken: list[Json] = []
    asked = connect_service()
    try:
        with show_progress(f"0 of {total} taken") as tell:
            for number, batch in enumerate(batches):
                taken += _send(asked, number, batch, idempotency_key)
                tell(f"{len(taken)} of {total} taken")
    finally:
        if as_json:
            print_json({"items": taken, "next_cursor": None})
        print_message(f"{len(taken)} of {total} requests taken")


def strict_json(text: str) -> Any:
    """Read JSON that says each thing once.

    Raises:
        ValueError: it is no JSON by RFC 8259, or an object repeats a name.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _text_of(given: str) -> str:
    if given == "-":
        return _decoded(sys.stdin.buffer.read())
    if given.startswith("@"):
        return _decoded(Path(given[1:]).read_bytes())
    return given


def _decoded(content: bytes) -> str:
    return content.decode("utf-8-sig")


def _parts(content: bytes) -> list[_Part]:
    """Give the submissions of a file; all its faults are told at once."""
    parts: list[_Part] = []
    faults: list[str] = []
    try:
        for place, found in _found(_decoded(content)):
            if isinstance(found, dict):
                parts.append(_Part(place, json.dumps(found)))
            else:
                faults.append(f"{place}: {found if isinstance(found, ValueError) else 'must be a JSON object'}")
    except ValueError as error:
        faults.append(str(error))
    if not parts and not faults:
        faults.append("holds nothing")
    if faults:
        more = [f"and {len(faults) - _MOST_FAULTS} more"] if len(faults) > _MOST_FAULTS else []
        raise click.BadParameter("\n".join(["", *faults[:_MOST_FAULTS], *more]), param_hint="FILE")
    return parts


def _found(text: str) -> Iterator[tuple[str, Any]]:
    """Give what stands at each place of JSON Lines or of one array; an error where it is no JSON."""
    if text.lstrip().startswith("["):
        for number, item in enumerate(strict_json(text), 1):
            yield f"item {number}", item
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", strict_json(line)
            except ValueError as error:
                yield f"line {number}", error


def _batches(parts: Sequence[_Part]) -> Iterator[Sequence[_Part]]:
    """Split submissions into batches that the service takes, by number and size."""
    batch: list[_Part] = []
    size = 0
    for part in parts:
        if batch and (len(batch) == MOST_IN_BATCH or size + len(part.text) > _LARGEST_BODY):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += len(part.text) + 1
    yield batch


def _send(asked: Service, number: int, batch: Sequence[_Part], prefix: str | None) -> Sequence[Json]:
    body = f'{{"requests":[{",".join(part.text for part in batch)}]}}'.encode()
    key = f"{prefix or sha256(body).hexdigest()}-{number}"
    try:
        taken: list[Json] = asked.post("requests", "batch", body=body, headers={"idempotency-key": key})["items"]
    except ApiError as error:
        told = list(_faults(batch, error)) or [str(error)]
        repeat = "mend that and repeat the command; what was taken is not sent twice"
        raise ApiError("\n".join([f"stopped at {batch[0].place} to {batch[-1].place}", *told, repeat])) from None
    return taken


def _faults(batch: Sequence[_Part], error: ApiError) -> Iterator[str]:
    """Tell a batch's errors by the places in the file."""
    for place, message in flatten_errors(error.errors):
        index, _, field = place.removeprefix("requests.").partition(".")
        at = batch[int(index)].place if index.isdecimal() and int(index) < len(batch) else index
        yield f"{at}: {field}: {message}" if field else f"{at}: {message}"


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _without_repeats(pairs: list[tuple[str, Any]]) -> Json:
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError("an object repeats a name")
    return given
