"""`/v1`: clients submit requests and ask what became of them; operators pause and resume providers."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request, url_for
from marshmallow import ValidationError
from werkzeug.exceptions import NotFound

from receiver.domain.jobs import effects
from receiver.inbound.explain import explain, redacted
from receiver.outbound.submit import InvalidSubmission, Submission, submit
from receiver.providers.base import Provider
from receiver.store.callbacks import SecretUse, find_callback, recent_callbacks, secret_uses
from receiver.store.database import Connection
from receiver.store.jobs import events_of_job, find_job, jobs_of_request
from receiver.store.providers import pause_provider, paused_providers, resume_provider
from receiver.store.requests import attempts_of_request, find_request
from receiver.web.auth import authenticated
from receiver.web.bodies import json_answer, json_body
from receiver.web.wiring import wiring
from schemas import api

v1 = Blueprint("v1", __name__, url_prefix="/v1")

_SUBMISSION = api.Submission()
_REQUEST = api.Request()
_ATTEMPT = api.Attempt()
_JOB = api.Job()
_EVENT = api.Event()
_CALLBACK = api.Callback()
_CALLBACK_SUMMARY = api.CallbackSummary()
_CALLBACK_FILTER = api.CallbackFilter()
_EXPLANATION = api.Explanation()
_SECRET_USE = api.SecretUse()


@v1.post("/requests")
@authenticated
def submit_request() -> Response:
    """Queue a request; it is committed before the answer."""
    wired = wiring()
    submission = Submission(**_submission())
    with wired.database.transaction() as connection:
        request_id = submit(connection, wired.providers, submission)
        # Made before the commit: what cannot be answered is not queued.
        location = url_for("v1.show_request", request_id=request_id)
        return json_answer(_request_document(connection, request_id), 202, {"Location": location})


@v1.get("/requests/<uuid:request_id>")
@authenticated
def show_request(request_id: UUID) -> Response:
    """Show a request with its attempts and jobs."""
    with wiring().database.connection() as connection:
        return json_answer(_request_document(connection, request_id))


@v1.get("/jobs/<uuid:job_id>")
@authenticated
def show_job(job_id: UUID) -> Response:
    """Show a job with everything anybody said about it, in the order of receipt."""
    with wiring().database.connection() as connection:
        job = find_job(connection, job_id)
        if job is None:
            raise NotFound("no job has this id")
        told = effects(events_of_job(connection, job_id))
    events = [_EVENT.dump(event) | {"effect": effect} for event, effect in told]
    return json_answer(_JOB.dump(job) | {"events": events})


@v1.get("/callbacks")
@authenticated
def list_callbacks() -> Response:
    """List callbacks, newest first; those that were refused are a bounded sample."""
    try:
        wanted = _CALLBACK_FILTER.load(request.args)
    except ValidationError as error:
        raise InvalidSubmission(error.messages_dict) from None
    with wiring().database.connection() as connection:
        found = recent_callbacks(connection, **wanted)
    return json_answer({"items": _CALLBACK_SUMMARY.dump(found, many=True), "next": None})


@v1.get("/callbacks/<uuid:callback_id>")
@authenticated
def show_callback(callback_id: UUID) -> Response:
    """Show a callback as it came, secrets left out, and explain its verdict."""
    wired = wiring()
    with wired.database.connection() as connection:
        found = find_callback(connection, callback_id)
    if found is None:
        raise NotFound("no callback has this id")
    provider = wired.providers.get(found.provider)
    told = explain(found, provider, wired.guardian.documents, wired.settings.public_url)
    return json_answer(_CALLBACK.dump(redacted(found, provider)) | {"explanation": _EXPLANATION.dump(told)})


@v1.get("/providers")
@authenticated
def list_providers() -> Response:
    """List the configured providers with their callback URLs and whether they are paused."""
    wired = wiring()
    with wired.database.connection() as connection:
        pauses = {pause.name: pause.pause_reason for pause in paused_providers(connection)}
        uses = secret_uses(connection)
    items = [
        {
            "name": name,
            "paused": name in pauses,
            "pause_reason": pauses.get(name),
            "callback_url": wired.settings.callback_url(name),
            "secrets": _SECRET_USE.dump(_secrets(wired.providers[name], uses), many=True),
        }
        for name in sorted(wired.providers)
    ]
    return json_answer({"items": items, "next": None})


@v1.post("/providers/<name>/pause")
@authenticated
def pause(name: str) -> Response:
    """Stop sending to a provider; its requests stay queued."""
    _demand_provider(name)
    with wiring().database.connection() as connection:
        pause_provider(connection, name, "paused by an operator")
    return json_answer({"name": name, "paused": True})


@v1.post("/providers/<name>/resume")
@authenticated
def resume(name: str) -> Response:
    """Send to a provider again."""
    _demand_provider(name)
    with wiring().database.connection() as connection:
        resume_provider(connection, name)
    return json_answer({"name": name, "paused": False})


def _secrets(provider: Provider, uses: Sequence[SecretUse]) -> list[dict[str, Any]]:
    """Give the fingerprints of a provider's live secrets, each with when it last matched."""
    last = {use.fingerprint: use.last_used_at for use in uses if use.provider == provider.name}
    return [{"fingerprint": name, "last_used_at": last.get(name)} for name in provider.receiving.guard.fingerprints]


def _demand_provider(name: str) -> None:
    if name not in wiring().providers:
        raise NotFound("no such provider is configured")


def _submission() -> dict[str, Any]:
    """Read the body of a submission.

    Raises:
        InvalidSubmission: with the errors of every field; see also `json_body`.
    """
    try:
        loaded: dict[str, Any] = _SUBMISSION.load(json_body())
    except ValidationError as error:
        raise InvalidSubmission(error.messages_dict) from None
    return loaded


def _request_document(connection: Connection, request_id: UUID) -> dict[str, Any]:
    found = find_request(connection, request_id)
    if found is None:
        raise NotFound("no request has this id")
    document: dict[str, Any] = _REQUEST.dump(found)
    document["attempts"] = _ATTEMPT.dump(attempts_of_request(connection, request_id), many=True)
    document["jobs"] = _JOB.dump(jobs_of_request(connection, request_id), many=True)
    return document
