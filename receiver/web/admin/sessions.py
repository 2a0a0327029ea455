"""Sessions of the pages: a cookie, signed under `RECEIVER_SECRET_KEY`, with the id of an API key, never with the key.

A session ends after an hour without a call, twelve hours after the sign-in, when the user signs out, and when its API
key is revoked or expires.
"""

import hmac
import secrets
import time
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from flask import Flask, Request, Response, request, session
from flask.sessions import SecureCookieSessionInterface, SessionMixin

from receiver.domain.access import Caller
from receiver.web.auth.api_keys import BOOTSTRAP_ID
from receiver.web.context import AppContext, get_app_context

ROOT = "/admin"
IDLE_S = 3_600
LIFETIME_S = 12 * 3_600
CSRF_FIELD = "csrf_token"
_COOKIE = "receiver_admin"
_KEY_ID, _KEY_PROOF, _SIGNED_IN_AT = "key_id", "key_proof", "signed_in_at"


class _AdminSessions(SecureCookieSessionInterface):
    """Cookies for the paths of the pages alone; those of the API have none, and do not pay for one."""

    def open_session(self, app: Flask, request: Request) -> Any:
        return super().open_session(app, request) if _has_session(request.path) else None

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if _has_session(request.path):
            super().save_session(app, session, response)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether the browser must send the cookie over TLS only: where the current call came over TLS."""
        public_url = urlsplit(get_app_context(app).settings.public_url)
        return public_url.scheme == "https" and request.host == public_url.netloc


def _has_session(path: str) -> bool:
    return f"{path}/".startswith(f"{ROOT}/") and not path.startswith(f"{ROOT}/static/")


def configure_sessions(app: Flask, secret_keys: Sequence[str]) -> None:
    """Store sessions in cookies that are signed under the first key; those signed under the others are valid too."""
    app.secret_key, app.config["SECRET_KEY_FALLBACKS"] = (
        (secret_keys[0], list(secret_keys[1:])) if secret_keys else (None, None)
    )
    app.session_interface = _AdminSessions()
    app.config.update(
        SESSION_COOKIE_NAME=_COOKIE,
        SESSION_COOKIE_PATH=ROOT,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(seconds=IDLE_S),
    )


def sign_in(context: AppContext, key: str, address: str) -> Caller:
    """Begin a session for an API key.

    Raises:
        ReceiverError: what `ApiKeyAuthenticator.authenticate` raises for a key that is not valid.
    """
    caller, _ = context.api_keys.authenticate(key, address)
    session.clear()  # also the CSRF token: a form of before must not act for this key
    session.permanent = True
    session[_KEY_ID], session[_SIGNED_IN_AT] = str(caller.id), int(time.time())
    if caller.id == BOOTSTRAP_ID:
        session[_KEY_PROOF] = _compute_proofs(context)[0]
    return caller


def sign_out() -> None:
    """End the session."""
    session.clear()


def find_caller(context: AppContext) -> Caller | None:
    """Return the caller of the current session, or None if nobody is signed in or the key is not valid any more.

    Raises:
        StoreUnavailable: the key cannot be looked up now.
    """
    key_id = session.get(_KEY_ID)
    if key_id is None or time.time() - session.get(_SIGNED_IN_AT, 0) > LIFETIME_S:
        return None
    if UUID(key_id) == BOOTSTRAP_ID and not _is_proven(context, session.get(_KEY_PROOF, "")):
        return None
    return context.api_keys.find_caller(UUID(key_id))


def get_csrf_token() -> str:
    """Return the token that every form of this session contains."""
    token: str = session.setdefault(CSRF_FIELD, secrets.token_urlsafe(16))
    return token


def is_own_form(token: str) -> bool:
    """Return whether a form was sent from a page of this session, by the token that it contains."""
    expected = session.get(CSRF_FIELD, "")
    return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())


def _is_proven(context: AppContext, proof: str) -> bool:
    """Return whether a session began with the current `RECEIVER_ADMIN_KEY`: it ends when the key is replaced."""
    return any(hmac.compare_digest(proof, valid_proof) for valid_proof in _compute_proofs(context))


def _compute_proofs(context: AppContext) -> Sequence[str]:
    """Return the valid proofs of sessions of `RECEIVER_ADMIN_KEY`, one under each secret key, the newest key first."""
    message = (context.settings.admin_key or "").encode()
    return [hmac.new(key.encode(), message, sha256).hexdigest() for key in context.settings.secret_keys or ("",)]
