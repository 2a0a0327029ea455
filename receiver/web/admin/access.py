"""Sign in with an API key, sign out; and the assets, which need no sign-in."""

from urllib.parse import urlsplit

from flask import Response, flash, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from receiver.domain.errors import ReceiverError
from receiver.outbound.submit import InvalidSubmission
from receiver.web.admin import assets
from receiver.web.admin.blueprint import admin
from receiver.web.admin.failures import Failure, describe_failure
from receiver.web.admin.sessions import ROOT, sign_in, sign_out
from receiver.web.callbacks import caller_address
from receiver.web.context import current_context
from receiver.web.problems import ProblemError, ProblemType


@admin.get("")
def redirect_to_overview() -> ResponseReturnValue:
    """Redirect to the overview, whose URL ends with a slash."""
    return redirect(url_for("admin.show_overview"))


@admin.get("/static/<name>")
def serve_asset(name: str) -> Response:
    """Return the style sheet, the script or the icon."""
    response = assets.build_response(name)
    if response is None:
        raise ProblemError(ProblemType.NOT_FOUND, "No such file.")
    return response


@admin.get("/login")
def show_log_in() -> ResponseReturnValue:
    """Show the form for an API key."""
    return _render(_clean_target(request.args.get("next", "")), None)


@admin.post("/login")
def log_in() -> ResponseReturnValue:
    """Begin a session for the API key in the form, and go on to the page that was asked for."""
    context, target = current_context(), _clean_target(g.form.get("next", ""))
    key = g.form.get("key", "").strip()
    try:
        if not key:
            raise InvalidSubmission({"key": ["Missing data for required field."]})
        sign_in(context, key, caller_address(request.environ, context.settings.trusted_proxies))
    except ReceiverError as error:
        failure = describe_failure(error)
        response = make_response(_render(target, failure), failure.status)
        response.headers.extend(failure.headers)
        return response
    return redirect(target)


@admin.post("/logout")
def log_out() -> ResponseReturnValue:
    """End the session."""
    sign_out()
    flash("You are signed out.")
    return redirect(url_for("admin.show_log_in"))


def _render(target: str, failure: Failure | None) -> str:
    return render_template("login.html", target=target, failure=failure)


def _clean_target(target: str) -> str:
    """Return the page to show after the sign-in: none of another site, whatever the URL asks for."""
    parts = urlsplit(target.replace("\\", "/"))
    is_page = not parts.scheme and not parts.netloc and (parts.path == ROOT or parts.path.startswith(f"{ROOT}/"))
    return target if is_page and target.isprintable() else url_for("admin.show_overview")
