"""The frame of the pages: who may see them, forms, response headers, and the pages of errors."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from receiver.domain.access import Caller
from receiver.outbound.submit import InvalidSubmission
from receiver.web.admin import assets, presentation
from receiver.web.admin.calls import can_call
from receiver.web.admin.failures import Failure, describe_failure
from receiver.web.admin.sessions import CSRF_FIELD, ROOT, find_caller, get_csrf_token, is_own_form
from receiver.web.bodies import read_body
from receiver.web.context import current_context
from receiver.web.problems import ProblemError, ProblemType

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_OPEN_ENDPOINTS = frozenset({"admin.log_in", "admin.show_log_in"})
"""The pages that need no sign-in."""
_STALE_FORM = Failure(
    403, "Stale form", "The form has expired, or was sent from another site. Load the page again and repeat the action."
)
_MAX_FORM_FIELDS = 100
_NAVIGATION = (
    ("admin.show_overview", "Overview", "browse_jobs"),
    ("admin.list_requests", "Requests", "browse_requests"),
    ("admin.list_jobs", "Jobs", "browse_jobs"),
    ("admin.list_callbacks", "Callbacks", "browse_callbacks"),
    ("admin.list_notifications", "Notifications", "browse_notifications"),
    ("admin.list_providers", "Providers", "browse_providers"),
    ("admin.list_keys", "Keys", "browse_keys"),
)
"""The pages of the header: endpoint, name, and the operation without which a key does not see the page."""

admin = Blueprint("admin", __name__, url_prefix=ROOT, template_folder="templates")
presentation.register_filters(admin)


@admin.before_request
def _check_access() -> ResponseReturnValue | None:
    """Redirect to the sign-in whoever is not signed in, and refuse forms of other sites."""
    if request.endpoint == "admin.serve_asset":
        return None
    if request.method == "POST":
        g.form = parse_form()
        if request.headers.get("Sec-Fetch-Site") == "cross-site" or not is_own_form(g.form.get(CSRF_FIELD, "")):
            return render_failure(_STALE_FORM)
    if request.endpoint in _OPEN_ENDPOINTS:
        return None
    caller = find_caller(current_context())
    if caller is None:
        target = request.full_path.rstrip("?") if request.method == "GET" else None
        return redirect(url_for("admin.show_log_in", next=target))
    g.caller = caller
    return None


@admin.after_request
def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


@admin.errorhandler(Exception)
def _show_error(error: Exception) -> Response:
    """Render the page of an error, with the status and the headers that the API responds with."""
    return render_failure(describe_failure(error))


def render_failure(failure: Failure) -> Response:
    """Render the page of an error that belongs to no form."""
    response = make_response(render_template("error.html", failure=failure), failure.status)
    response.headers.extend(failure.headers)
    return response


@admin.app_context_processor
def _add_globals() -> dict[str, Any]:
    """Provide what every template needs."""
    caller: Caller | None = g.get("caller")
    return {
        "asset_url": assets.build_url,
        "can_call": can_call,
        "caller": caller,
        "csrf_field": CSRF_FIELD,
        "csrf_token": get_csrf_token,
        "environment": current_context().settings.environment,
        "navigation": _NAVIGATION,
    }


def parse_form() -> dict[str, str]:
    """Return the fields of the form that was sent; of a repeated field, the values are joined by commas.

    Raises:
        InvalidSubmission: the form is not percent-encoded UTF-8, or has too many fields.
        RequestEntityTooLarge: it exceeds `RECEIVER_MAX_BODY`.
    """
    environ = request.environ
    max_bytes = current_context().settings.max_body_bytes
    body = read_body(environ["wsgi.input"], environ.get("CONTENT_LENGTH", ""), max_bytes)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS)
    except ValueError:  # UnicodeDecodeError is one
        raise InvalidSubmission({"_form": ["Not a valid form."]}) from None
    form: dict[str, str] = {}
    for name, value in pairs:
        form[name] = f"{form[name]},{value}" if name in form else value
    return form


@admin.route("/<path:path>", methods=["GET", "POST"])
def _show_unknown(path: str) -> ResponseReturnValue:  # noqa: ARG001  # any path
    raise ProblemError(ProblemType.NOT_FOUND, "No such page.")
