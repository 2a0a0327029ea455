"""Submissions: the calls of the API that submit requests, one by one or in a batch.

Submissions come in bursts, and building Flask's request and response objects costs more than all other steps together.
Under gunicorn, `receiver.web.server.worker` therefore calls `SubmissionEndpoint.respond`; the views of Flask, which any
other WSGI server calls, do the same by `submit`.
"""

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

from marshmallow import Schema

from receiver.domain.access import Caller
from receiver.domain.addresses import find_caller
from receiver.domain.tracing import TRACEPARENT, parse_traceparent
from receiver.outbound.submission_batcher import SubmittedCall
from receiver.outbound.submit import InvalidSubmission, Submission, prepare_request, prepare_requests
from receiver.store.keys import IdempotentResponse, find_idempotent_response
from receiver.store.requests import NewRequest
from receiver.web.access_log import log_api_call
from receiver.web.auth.rate_limit import RateLimitExceeded
from receiver.web.bodies import parse_json, read_body
from receiver.web.context import AppContext
from receiver.web.idempotency import compute_fingerprint, parse_idempotency_key, repeat_response
from receiver.web.operations import ApiOperation, authenticate, check_provider, check_scope, load_document
from receiver.web.problems import build_problem_response
from receiver.web.security_headers import SECURITY_HEADERS
from receiver.web.server.messages import HttpRequest, HttpResponse
from receiver.web.tracing import trace_submission

BATCH = "requests"
"""The field of a batch that has its submissions."""
_COMMIT_TIMEOUT_S = 10.0


class SubmissionEndpoint:
    """Answers submissions in front of Flask; `operations` are those that submit requests."""

    def __init__(self, context: AppContext, operations: Iterable[ApiOperation]) -> None:
        self._context = context
        self._record = context.metrics.api_responses.append
        self._operations = {
            operation.path: (operation, operation.body) for operation in operations if operation.body is not None
        }

    def handles(self, method: str, target: str) -> bool:
        """Return whether the endpoint answers a request; Flask answers other spellings of a path, and any query."""
        return method == "POST" and target in self._operations

    def respond(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a submission."""
        started_at, (operation, schema) = perf_counter(), self._operations[request.path]
        address = find_caller(
            request.peer, request.headers.get("x-forwarded-for", ""), self._context.settings.trusted_proxies
        )
        rate_limit_headers: list[tuple[str, str]] = []
        caller: Caller | None = None
        try:
            caller, rate_limit = authenticate(self._context, request.headers.get("authorization", ""), address)
            rate_limit_headers += rate_limit.headers.items()
            check_scope(operation, caller)
            response = self._submit(operation, schema, request, caller)
        except Exception as error:
            if isinstance(error, RateLimitExceeded):
                caller = error.caller
                rate_limit_headers += error.rate_limit.headers.items()
            response = HttpResponse.from_flask(build_problem_response(error))
        self._record((operation.name, response.status, perf_counter() - started_at))
        location = next((value for name, value in response.headers if name == "Location"), None)
        log_api_call(
            started_at,
            method=request.method,
            route=operation.path,
            status=response.status,
            location=location,
            caller=caller,
            address=address,
        )
        return HttpResponse(response.status, [*response.headers, *rate_limit_headers], response.body)

    def _submit(self, operation: ApiOperation, schema: Schema, request: HttpRequest, caller: Caller) -> HttpResponse:
        """Return the response once the requests are committed."""
        headers = request.headers
        max_bytes = operation.body_size_factor * self._context.settings.max_body_bytes
        content = read_body(request.body, headers.get("content-length", ""), max_bytes)
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        body, key = load_document(schema, parse_json(content, media_type)), headers.get("idempotency-key")
        traceparent = headers.get(TRACEPARENT)
        response = submit(self._context, caller, operation.path, body, key, size=len(content), traceparent=traceparent)
        return HttpResponse(response.status, [*response.headers, *SECURITY_HEADERS], response.body)


def submit(
    context: AppContext,
    caller: Caller,
    path: str,
    body: dict[str, Any],
    idempotency_key: str | None,
    *,
    size: int,
    traceparent: str | None,
) -> HttpResponse:
    """Submit requests, together with those of other calls, and only once per idempotency key.

    Args:
        context: that of the process.
        caller: who submits them.
        path: the path of the operation.
        body: the loaded body: a submission, or a batch of them.
        idempotency_key: the value of the header, or None without one.
        size: the size of the body in bytes.
        traceparent: the value of the header, or None without one.

    Raises:
        InvalidSubmission: a submission or the idempotency key is invalid.
        ProblemError: the idempotency key was used for another call, or the caller may not use a provider.
        QueueFull, StoreUnavailable: the requests were not committed, or not in time.
    """

    def submit_within(traceparent: str | None) -> HttpResponse:
        return _submit(context, caller, path, body, idempotency_key, size=size, traceparent=traceparent)

    if context.tracing:
        return trace_submission(context.tracing, path, traceparent, submit_within)
    return submit_within(traceparent)


def _submit(
    context: AppContext,
    caller: Caller,
    path: str,
    body: dict[str, Any],
    idempotency_key: str | None,
    *,
    size: int,
    traceparent: str | None,
) -> HttpResponse:
    is_batch, trace = BATCH in body, parse_traceparent(traceparent)
    submissions = [
        Submission(**fields, client=caller.client, traceparent=trace)
        for fields in (body[BATCH] if is_batch else [body])
    ]
    for submission in submissions:
        check_provider(caller, submission.provider_name)
    key = parse_idempotency_key(idempotency_key)
    fingerprint = b"" if key is None else compute_fingerprint("POST", path, body)
    try:
        requests = _prepare(context, submissions, key, is_batch=is_batch)
    except InvalidSubmission:
        if key is None:
            raise
        # A submission that was accepted once must not be refused when it is repeated.
        with context.database.connection() as connection:
            stored = find_idempotent_response(connection, caller.client, key)
            if stored is None:
                raise
            return repeat_response(connection, stored, fingerprint)
    location = None if is_batch else f"{path}/{requests[0].id}"
    result = context.submissions.commit(
        SubmittedCall(requests, is_batch, size, fingerprint, location), timeout=_COMMIT_TIMEOUT_S
    )
    if isinstance(result, IdempotentResponse):
        with context.database.connection() as connection:
            return repeat_response(connection, result, fingerprint)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(result)))]
    return HttpResponse(202, [*headers, ("Location", location)] if location else headers, result)


def _prepare(
    context: AppContext, submissions: Sequence[Submission], key: str | None, *, is_batch: bool
) -> Sequence[NewRequest]:
    settings = context.settings
    if is_batch:
        return prepare_requests(settings.providers, submissions, settings.notify_targets, key)
    return [prepare_request(settings.providers, submissions[0], settings.notify_targets, key)]
