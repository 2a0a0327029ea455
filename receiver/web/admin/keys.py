"""API keys: the list, one key with its revocation, and new keys, each of which is shown once."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import flash, g, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue

from receiver.domain.access import Scope
from receiver.domain.accounts import list_base_names
from receiver.domain.errors import ReceiverError
from receiver.schemas.api.common import ActionSchema
from receiver.schemas.api.keys import KeySchema
from receiver.store.actions import find_actions
from receiver.web.admin.actions import act, respond_with_failure
from receiver.web.admin.blueprint import admin
from receiver.web.admin.calls import call, require_operation
from receiver.web.admin.failures import Failure, describe_failure
from receiver.web.admin.lists import load_list
from receiver.web.context import current_context
from receiver.web.v1.keys import load_key

_FORM_ID, _SENT_FORMS = "form_id", "sent_forms"
_MAX_SENT_FORMS = 5
_SENT_TWICE = (
    "The key of that form was created before, and is shown only once. If it is lost, revoke it and create another."
)
_SCOPES: Mapping[Scope, str] = {
    Scope.SUBMIT: "submits requests, and sees those of its client",
    Scope.READ: "sees all requests, jobs and callbacks, without raw bodies",
    Scope.ADMIN: "does everything: acts on requests and providers, sees raw bodies, creates keys",
}
_NOT_CONFIRMED = "Confirm that the key stops working."


@admin.get("/keys")
def list_keys() -> ResponseReturnValue:
    """Show the API keys."""
    page = load_list("browse_keys")
    return render_template("keys.html", page=page, get_state=_get_state), page.status, page.headers


@admin.get("/keys/new")
def show_new_key() -> str:
    """Show the form for a new key."""
    return _render_form()


@admin.post("/keys/new")
def create_key() -> ResponseReturnValue:
    """Create a key and show it: only this response contains it, and sending the form again creates no other."""
    form_id = g.form.get(_FORM_ID, "")
    if form_id in session.get(_SENT_FORMS, []):
        flash(_SENT_TWICE)
        return redirect(url_for("admin.list_keys"), 303)
    try:
        key = call("create_api_key", body=_build_body(g.form))
    except ReceiverError as error:
        return respond_with_failure(describe_failure(error), _render_form)
    session[_SENT_FORMS] = [*session.get(_SENT_FORMS, []), form_id][-_MAX_SENT_FORMS:]
    return render_template("key_created.html", key=key), 201


@admin.get("/keys/<uuid:key_id>")
def show_key(key_id: UUID) -> str:
    """Show a key and what was done with it."""
    return _render_key(key_id)


@admin.post("/keys/<uuid:key_id>/revoke")
def revoke_key(key_id: UUID) -> ResponseReturnValue:
    """Revoke a key for good."""
    if g.form.get("confirm") != "yes":
        failure = Failure(400, "The key is not revoked", "Nothing was changed.", [("confirm", _NOT_CONFIRMED)])
        return respond_with_failure(failure, lambda failure: _render_key(key_id, failure))
    return act(
        "revoke_api_key",
        {"reason": g.form.get("reason") or None},
        done="The key is revoked. Every process refuses it within a second.",
        target=url_for("admin.show_key", key_id=key_id),
        render=lambda failure: _render_key(key_id, failure),
        key_id=key_id,
    )


def _build_body(form: Mapping[str, str]) -> dict[str, Any]:
    """Build the body of the API's operation from the fields of the form; empty ones are left out."""
    body: dict[str, Any] = {name: form[name].strip() for name in ("name", "client") if form.get(name, "").strip()}
    body["scopes"] = [scope for scope in form.get("scopes", "").split(",") if scope]
    providers = [name.strip() for name in form.get("providers", "").split(",") if name.strip()]
    if providers:
        body["providers"] = providers
    if form.get("per_minute", "").strip():
        per_minute = form["per_minute"].strip()
        body["per_minute"] = int(per_minute) if per_minute.isascii() and per_minute.isdecimal() else per_minute
    if form.get("expires_at", "").strip():
        expires_at = form["expires_at"].strip()
        body["expires_at"] = f"{expires_at}T00:00:00Z" if len(expires_at) == len("2030-01-01") else expires_at
    return body


def _render_form(failure: Failure | None = None) -> str:
    require_operation("create_api_key")
    context = current_context()
    return render_template(
        "key_new.html",
        failure=failure,
        form=g.get("form", {}),
        form_id=secrets.token_urlsafe(8),
        scope_hints=_SCOPES,
        provider_names=list_base_names(context.providers),
        rate_limit=context.settings.rate_limit_per_minute,
    )


def _render_key(key_id: UUID, failure: Failure | None = None) -> str:
    require_operation("browse_keys")
    with current_context().database.connection() as connection:
        key = KeySchema().dump(load_key(connection, key_id))
        actions = ActionSchema(many=True).dump(find_actions(connection, key_id))
    return render_template(
        "key.html",
        key=key,
        actions=list(reversed(actions)),
        state=_get_state(key),
        is_own=g.caller.id == key_id,
        failure=failure,
        form=g.get("form", {}),
    )


def _get_state(key: Mapping[str, Any]) -> str:
    """Return whether a key is `active`, `revoked` or `expired`."""
    if key["revoked_at"]:
        return "revoked"
    expires_at = key["expires_at"]
    return "expired" if expires_at and datetime.fromisoformat(expires_at) <= current_context().clock.now() else "active"
