"""Operations of the API, performed by the pages for the API key that signed in."""

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response, g

from receiver.web.operations import ApiOperation, check_scope, current_caller, perform
from receiver.web.v1 import api

_OPERATIONS: Mapping[str, ApiOperation] = {operation.name: operation for operation in api.operations}


def call(
    name: str, /, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None, **path_variables: Any
) -> Any:
    """Perform an operation of the API and return its response as JSON.

    Args:
        name: the name of the operation, which is that of its view.
        query: the query parameters.
        body: the JSON body.
        path_variables: the variables of the path, such as `job_id`.

    Raises:
        ProblemError: the key lacks the scope, or the operation failed.
        InvalidSubmission: the query or the body is invalid; `errors` has messages by field.
        ReceiverError: what the operation raises.
    """
    operation = _OPERATIONS[name]
    check_scope(operation, current_caller())
    result = perform(operation, query or {}, lambda: dict(body or {}), path_variables)
    return orjson.loads(result.get_data()) if isinstance(result, Response) else operation.response.dump(result.document)


def require_operation(name: str) -> None:
    """Check that the key that signed in may call an operation, for a page that shows the same without calling it.

    Raises:
        ProblemError: the key lacks the scope.
    """
    check_scope(_OPERATIONS[name], current_caller())


def can_call(name: str) -> bool:
    """Return whether the key that signed in may call an operation at all; nobody may, before the sign-in."""
    operation, caller = _OPERATIONS[name], g.get("caller")
    scopes = (operation.scope, operation.own_scope)
    return caller is not None and any(caller.has_scope(scope) for scope in scopes if scope)
