"""Forms that act on an object: perform the action, then show the object with what was done or why nothing was."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import flash, make_response, redirect
from flask.typing import ResponseReturnValue

from receiver.domain.errors import ReceiverError
from receiver.web.admin.calls import call
from receiver.web.admin.failures import Failure, describe_failure


def act(
    operation: str,
    body: Mapping[str, Any],
    *,
    done: str,
    target: str,
    render: Callable[[Failure], str],
    **path_variables: Any,
) -> ResponseReturnValue:
    """Perform an operation for a form.

    Args:
        operation: the name of the operation of the API.
        body: its JSON body.
        done: what to show of the success, on the page `target`.
        target: the URL of the page to go on to, so that reloading it does not repeat the action.
        render: renders the page with the form again, with an error.
        path_variables: the variables of the operation's path.
    """
    try:
        call(operation, body=body, **path_variables)
    except ReceiverError as error:
        return respond_with_failure(describe_failure(error), render)
    flash(done)
    return redirect(target, 303)


def respond_with_failure(failure: Failure, render: Callable[[Failure], str]) -> ResponseReturnValue:
    """Respond with the page that has an error, and with its status."""
    response = make_response(render(failure), failure.status)
    response.headers.extend(failure.headers)
    return response
