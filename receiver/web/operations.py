"""What the API consists of: each operation is declared once, and that declaration is what is served and documented.

From it come the route, the check of the key and its scope, the reading of query and body by their schemas, the writing
of the answer by its own, and the OpenAPI document.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from flask import Blueprint, Response, g, request
from marshmallow import Schema, ValidationError
from werkzeug.datastructures import MultiDict, WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from receiver.domain.access import Caller, OperatorAction, Scope
from receiver.outbound.submit import InvalidSubmission
from receiver.schemas.api.common import NoQuerySchema
from receiver.web.api_keys import InvalidApiKey, RateLimitExceeded, ScopeMissing
from receiver.web.bodies import json_response, parse_json_body
from receiver.web.context import current_context

View = TypeVar("View", bound=Callable[..., Any])

_WANTED = "send an API key as Authorization: Bearer KEY"


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One operation of the API.

    Args:
        name: unique, in words.
        method: of HTTP.
        path: as Flask writes it, below the site's root.
        scope: what the key must be good for.
        query: the schema of the query's parameters.
        body: the schema of the JSON body, or None where it takes none.
        optional_body: whether the body may be left out.
        body_cap: how many times `RECEIVER_MAX_BODY` the body may be large.
        status: of the answer when all is well.
        answer: the schema of the answer.
        refusals: what else may be answered, and when; the errors that any operation may meet are not repeated.
        headers: the request headers that it honours, by name, with what each does.
        response_headers: the headers that its answer may have, beyond those that every answer has.
        summary: in a line.
        description: the rest of what is to be known.
    """

    name: str
    method: str
    path: str
    scope: Scope
    query: Schema
    body: Schema | None
    optional_body: bool
    body_cap: int
    status: int
    response: Schema
    refusals: Mapping[int, str]
    headers: Mapping[str, str]
    response_headers: Sequence[str]
    summary: str
    description: str


@dataclass(frozen=True, slots=True)
class Result:
    """A document to be written by the operation's schema, with headers of its own."""

    document: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Api:
    """A blueprint with the operations that it serves."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.operations: list[ApiOperation] = []
        blueprint.after_request(_tell_allowance)

    def operation(
        self,
        method: str,
        path: str,
        scope: Scope,
        response: Schema,
        *,
        status: int = 200,
        query: Schema | None = None,
        body: Schema | None = None,
        optional_body: bool = False,
        body_cap: int = 1,
        refusals: Mapping[int, str] | None = None,
        headers: Mapping[str, str] | None = None,
        response_headers: Sequence[str] = (),
    ) -> Callable[[View], View]:
        """Declare that a view carries out an operation; see `ApiOperation`.

        The view is called with the parts of the path, the `query` if a schema is declared, and the `body` likewise, all
        read. It gives a document for the answer's schema, `Result` with headers beside it, or a whole `Response`.
        """

        def declare(view: View) -> View:
            summary, _, description = (view.__doc__ or "").partition("\n")
            declared = ApiOperation(
                name=view.__name__,
                method=method,
                path=f"{self.blueprint.url_prefix or ''}{path}",
                scope=scope,
                query=query or NoQuerySchema(),
                body=body,
                optional_body=optional_body,
                body_cap=body_cap,
                status=status,
                response=response,
                refusals=refusals or {},
                headers=headers or {},
                response_headers=response_headers,
                summary=summary.strip(),
                description=" ".join(description.split()),
            )
            self.operations.append(declared)
            serve = _served(declared, view, takes_query=query is not None)
            self.blueprint.add_url_rule(path, view.__name__, serve, methods=[method])
            return view

        return declare


def extend_fields(value: Any, **more: Any) -> dict[str, Any]:
    """Give the fields of a dataclass's instance, with more beside them, for a schema."""
    return {one.name: getattr(value, one.name) for one in fields(value)} | more


def current_caller() -> Caller:
    """Give whose key the current call came with."""
    known: Caller = g.caller
    return known


def build_operator_action(reason: str | None) -> OperatorAction:
    """Give who does what the current call asks for, now, for a reason."""
    return OperatorAction(current_caller().name, current_context().clock.now(), reason)


def require_provider(name: str) -> None:
    """Let a call go on only if its key may use a provider.

    Raises:
        ScopeMissing: it may not.
    """
    if not current_caller().sees(name):
        raise ScopeMissing(f"this key is not good for the provider {name}")


def filter_providers(name: str | None) -> Sequence[str] | None:
    """Give the providers to look among: the one asked for, and only those that the key may see; None for all."""
    bound = current_caller().providers
    if name is None:
        return None if bound is None else list(bound)
    return [name] if current_caller().sees(name) else []


def _served(operation: ApiOperation, view: Callable[..., Any], *, takes_query: bool) -> Callable[..., Response]:
    def serve(**parts: Any) -> Response:
        _admit(operation.scope)
        query = _loaded(operation.query, _query())
        given = {**parts, "query": query} if takes_query else parts
        if operation.body is not None:
            given["body"] = _loaded(
                operation.body, parse_json_body(operation.body_cap, optional=operation.optional_body)
            )
        told = view(**given)
        if isinstance(told, Response):
            return told
        answered = told if isinstance(told, Result) else Result(told)
        return json_response(operation.response.dump(answered.document), operation.status, dict(answered.headers))

    return serve


def _admit(wanted: Scope) -> None:
    # Not request.authorization: werkzeug raises on a Basic scheme that is not ASCII.
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthorized(_WANTED, www_authenticate=WWWAuthenticate("bearer"))
    try:
        g.caller, g.allowance = current_context().keyring.admit(key.strip())
    except InvalidApiKey as error:
        raise Unauthorized(f"{error}; {_WANTED}", www_authenticate=WWWAuthenticate("bearer")) from None
    except RateLimitExceeded as error:
        g.allowance = error.allowance
        raise
    if not g.caller.may(wanted):
        raise ScopeMissing(f"this key lacks the scope {wanted}; it has {', '.join(sorted(g.caller.scopes))}")


def _tell_allowance(response: Response) -> Response:
    if "allowance" in g:
        response.headers.update(g.allowance.headers)
    return response


def _query() -> dict[str, str]:
    # Not request.args: werkzeug keeps bytes that are no UTF-8 as they were written, %FF as the text "%FF".
    try:
        given = MultiDict(parse_qsl(request.query_string.decode(), keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError:
        raise InvalidSubmission({"_query": ["must be UTF-8, percent-encoded"]}) from None
    repeated = {name: ["is given more than once"] for name, values in given.lists() if len(values) > 1}
    if repeated:
        raise InvalidSubmission(repeated)
    return given.to_dict()


def _loaded(schema: Schema, given: Any) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(given)
    except ValidationError as error:
        raise InvalidSubmission(error.messages_dict) from None
    return loaded
