"""One spelling of each path: a proxy that hides `/metrics` hides all that we would serve as `/metrics`.

Our paths consist of unreserved characters (RFC 3986 section 2.3) and slashes, so none of them needs percent-encoding.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from receiver.web.problems import ProblemType, build_problem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class CanonicalPaths:
    """WSGI middleware that answers 404 to other spellings of a path, and passes all else on to `next_app`."""

    def __init__(self, next_app: "WSGIApplication") -> None:
        self._next_app = next_app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        target: str = environ["RAW_URI"].partition("?")[0]
        if (target == path or _is_absolute_form(target, path)) and path[:1] == "/" and path[:2] != "//":
            return self._next_app(environ, start_response)
        return build_problem(ProblemType.NOT_FOUND)(environ, start_response)


def _is_absolute_form(target: str, path: str) -> bool:
    """Return whether a target is a URL with this path, which RFC 9112 section 3.2.2 requires us to serve."""
    _, scheme_end, rest = target.partition("://")
    authority, slash, tail = rest.partition("/")
    return bool(scheme_end and authority) and not target.startswith("/") and slash + tail == path
