"""The declaration of API operations: each operation is declared once, and both served and documented from it.

The declaration provides the route, the check of the API key and its scope, the parsing of query and body by their
schemas, the serialization of the response, and the OpenAPI document.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from flask import Blueprint, Response, g, request
from marshmallow import Schema, ValidationError
from werkzeug.datastructures import MultiDict

from receiver.domain.access import Caller, OperatorAction, Scope
from receiver.domain.accounts import intersect_names
from receiver.domain.errors import ReceiverError
from receiver.domain.filters import CallbackFilter, JobFilter, NotificationFilter, RequestFilter
from receiver.outbound.submit import InvalidSubmission
from receiver.schemas.api.common import ActionReasonSchema, NoQuerySchema
from receiver.web.auth.rate_limit import RateLimit, RateLimitExceeded
from receiver.web.bodies import json_response, parse_json_body
from receiver.web.callbacks import caller_address
from receiver.web.context import AppContext, current_context
from receiver.web.problems import MissingApiKey, ProblemError, ProblemType

View = TypeVar("View", bound=Callable[..., Any])
FilterT = TypeVar("FilterT", JobFilter, RequestFilter, CallbackFilter, NotificationFilter)


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One operation of the API.

    Args:
        name: the unique name of the operation, with underscores.
        method: the HTTP method.
        path: the path as Flask writes it, from the root of the site.
        scope: the scope that the API key must have.
        own_scope: a scope that suffices for what the key's own client submitted, see `Caller.own_client`.
        query: the schema of the query parameters.
        body: the schema of the JSON body, or None for an operation without body.
        optional_body: whether the body may be omitted.
        body_size_factor: the body may have this many times `RECEIVER_MAX_BODY` bytes.
        status: the status of a successful response.
        other_statuses: its other statuses, each with when it occurs.
        response: the schema of a successful response.
        problems: the problem types that are particular to the operation, with an example of their `detail`; those that
            any operation may have are not repeated.
        headers: the request headers that the operation supports, by name, with descriptions.
        response_headers: the names of response headers beyond those that every response has.
        summary: one line.
        description: further explanation.
        view: the function that performs the operation, see `Api.operation`.
        takes_query: whether the view is called with the loaded query parameters.
    """

    name: str
    method: str
    path: str
    scope: Scope
    own_scope: Scope | None
    query: Schema
    body: Schema | None
    optional_body: bool
    body_size_factor: int
    status: int
    other_statuses: Mapping[int, str]
    response: Schema
    problems: Mapping[ProblemType, str]
    headers: Mapping[str, str]
    response_headers: Sequence[str]
    summary: str
    description: str
    view: Callable[..., Any]
    takes_query: bool


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a view: a document to serialize by the operation's schema, and further response headers."""

    document: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Api:
    """A blueprint with the operations that it serves."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.operations: list[ApiOperation] = []
        blueprint.after_request(_add_rate_limit_headers)

    def operation(
        self,
        method: str,
        path: str,
        scope: Scope,
        response: Schema,
        *,
        own_scope: Scope | None = None,
        status: int = 200,
        other_statuses: Mapping[int, str] | None = None,
        query: Schema | None = None,
        body: Schema | None = None,
        optional_body: bool = False,
        body_size_factor: int = 1,
        problems: Mapping[ProblemType, str] | None = None,
        headers: Mapping[str, str] | None = None,
        response_headers: Sequence[str] = (),
    ) -> Callable[[View], View]:
        """Declare a view as an operation; see `ApiOperation` for the arguments.

        The view is called with the variables of the path, with the loaded `query` if a schema is declared, and with the
        loaded `body` likewise. It returns a document for the response's schema, a `Result` with further headers, or a
        complete `Response`. Summary and description are the view's docstring.
        """

        def declare(view: View) -> View:
            summary, _, description = (view.__doc__ or "").partition("\n")
            operation = ApiOperation(
                name=view.__name__,
                method=method,
                path=f"{self.blueprint.url_prefix or ''}{path}",
                scope=scope,
                own_scope=own_scope,
                query=query or NoQuerySchema(),
                body=body,
                optional_body=optional_body,
                body_size_factor=body_size_factor,
                status=status,
                other_statuses=other_statuses or {},
                response=response,
                problems=problems or {},
                headers=headers or {},
                response_headers=response_headers,
                summary=summary.strip(),
                description=" ".join(description.split()),
                view=view,
                takes_query=query is not None,
            )
            self.operations.append(operation)
            endpoint = _build_endpoint(operation)
            self.blueprint.add_url_rule(path, view.__name__, endpoint, methods=[method])
            return view

        return declare

    def action(
        self,
        path: str,
        scope: Scope,
        response: Schema,
        *,
        status: int = 200,
        problems: Mapping[ProblemType, str],
        response_headers: Sequence[str] = (),
    ) -> Callable[[View], View]:
        """Declare a view as an operator's action: a POST with an optional body that states the reason."""
        return self.operation(
            "POST",
            path,
            scope,
            response,
            status=status,
            body=ActionReasonSchema(),
            optional_body=True,
            problems=problems,
            response_headers=response_headers,
        )


def extend_fields(value: Any, **more: Any) -> dict[str, Any]:
    """Return the fields of a dataclass instance, with additional ones, for a schema."""
    return {item.name: getattr(value, item.name) for item in fields(value)} | more


def current_caller() -> Caller:
    """Return the caller of the current call."""
    caller: Caller = g.caller
    return caller


def build_operator_action(reason: str | None) -> OperatorAction:
    """Build the action that the current caller performs now."""
    return OperatorAction(current_caller().name, current_context().clock.now(), reason)


def build_scope_problem(scope: Scope, caller: Caller) -> ProblemError:
    """Build the problem of a call whose API key lacks a scope."""
    scopes = ", ".join(f"`{held}`" for held in sorted(caller.scopes))
    return ProblemError(ProblemType.INSUFFICIENT_SCOPE, f"The API key lacks the scope `{scope}`; it has {scopes}.")


def require_provider(name: str) -> None:
    """Check that the current caller may use a provider.

    Raises:
        ProblemError: the API key is restricted to other providers.
    """
    check_provider(current_caller(), name)


def check_provider(caller: Caller, name: str) -> None:
    """Check that a caller may use a provider.

    Raises:
        ProblemError: the caller's API key is restricted to other providers.
    """
    if not caller.can_access(name):
        detail = f"The API key may not use the provider {name}."
        raise ProblemError(ProblemType.PROVIDER_NOT_ALLOWED, detail)


def restrict_filter(list_filter: FilterT) -> FilterT:
    """Return a filter of a list that matches only items of providers that the current caller may see."""
    caller, providers = current_caller(), list_filter.providers
    if caller.providers is None:
        return list_filter
    allowed = list(caller.providers) if providers is None else intersect_names(providers, caller.providers)
    return replace(list_filter, providers=allowed)


def _build_endpoint(operation: ApiOperation) -> Callable[..., Response]:
    def serve(**path_variables: Any) -> Response:
        _authenticate(operation)
        result = perform(operation, parse_query(), lambda: _parse_body(operation), path_variables)
        if isinstance(result, Response):
            return result
        return json_response(operation.response.dump(result.document), operation.status, dict(result.headers))

    return serve


def _parse_body(operation: ApiOperation) -> Any:
    return parse_json_body(operation.body_size_factor, optional=operation.optional_body)


def perform(
    operation: ApiOperation,
    query: Mapping[str, str],
    parse_body: Callable[[], Any],
    path_variables: Mapping[str, Any],
) -> Response | Result:
    """Perform an operation for the current caller, whose scope was checked.

    Args:
        operation: the operation.
        query: the query parameters.
        parse_body: returns the JSON body; called after the query was validated, if the operation has a body.
        path_variables: the variables of the path.

    Raises:
        InvalidSubmission: the query or the body is invalid.
        ReceiverError: what the view raises.
    """
    arguments = dict(path_variables)
    loaded_query = load_document(operation.query, query)
    if operation.takes_query:
        arguments["query"] = loaded_query
    if operation.body is not None:
        arguments["body"] = load_document(operation.body, parse_body())
    returned = operation.view(**arguments)
    return returned if isinstance(returned, Response | Result) else Result(returned)


def _authenticate(operation: ApiOperation) -> None:
    """Authenticate the current call and check its scope; the caller is `current_caller()` from then on."""
    context = current_context()
    address = caller_address(request.environ, context.settings.trusted_proxies)
    try:
        g.caller, g.rate_limit = authenticate(context, request.headers.get("Authorization", ""), address)
    except RateLimitExceeded as error:
        g.caller, g.rate_limit = error.caller, error.rate_limit
        raise
    check_scope(operation, g.caller)


def authenticate(context: AppContext, authorization: str, address: str) -> tuple[Caller, RateLimit]:
    """Return the caller of a call and its rate limit; raises what `ApiKeyAuthenticator.authenticate` raises.

    Args:
        context: that of the process.
        authorization: the header of this name, empty without one.
        address: the caller's address.

    Raises:
        MissingApiKey: there is no API key in the header.
    """
    # Not request.authorization: werkzeug raises on a Basic scheme that is not ASCII.
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise MissingApiKey
    return context.api_keys.authenticate(key.strip(), address)


def check_scope(operation: ApiOperation, caller: Caller) -> None:
    """Check that a caller may call an operation.

    Raises:
        ProblemError: the caller's API key lacks the scope.
    """
    if not any(caller.has_scope(scope) for scope in (operation.scope, operation.own_scope) if scope):
        raise build_scope_problem(operation.scope, caller)


def has_unrestricted_key() -> bool:
    """Return whether the current call, of an operation without a key, has a valid key of all providers."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        return False
    address = caller_address(request.environ, current_context().settings.trusted_proxies)
    try:
        caller, _ = current_context().api_keys.authenticate(key.strip(), address)
    except ReceiverError:
        return False
    return caller.providers is None


def _add_rate_limit_headers(response: Response) -> Response:
    if "rate_limit" in g:
        response.headers.update(g.rate_limit.headers)
    return response


def parse_query() -> dict[str, str]:
    """Return the query parameters of the current call.

    Raises:
        InvalidSubmission: one is repeated, or the query is not percent-encoded UTF-8.
    """
    # Not request.args: werkzeug keeps bytes that are not UTF-8 as they were written, %FF as the text "%FF".
    try:
        pairs = parse_qsl(request.query_string.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InvalidSubmission({"_query": ["Not valid percent-encoded UTF-8."]}) from None
    parameters = MultiDict(pairs)
    repeated = {name: ["Must not be repeated."] for name, values in parameters.lists() if len(values) > 1}
    if repeated:
        raise InvalidSubmission(repeated)
    return parameters.to_dict()


def load_document(schema: Schema, document: Any) -> dict[str, Any]:
    """Load a query or a body.

    Raises:
        InvalidSubmission: it is invalid.
    """
    try:
        loaded: dict[str, Any] = schema.load(document)
    except ValidationError as error:
        raise InvalidSubmission(error.messages_dict) from None
    return loaded
