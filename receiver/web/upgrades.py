"""No upgrade to another protocol: the header `Upgrade` is ignored, as RFC 9110 section 7.8 allows.

werkzeug would answer 400 to a request that could be upgraded to a websocket.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class IgnoreUpgrades:
    """WSGI middleware that removes the header and passes everything on to `next_app`."""

    def __init__(self, next_app: "WSGIApplication") -> None:
        self._next_app = next_app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ.pop("HTTP_UPGRADE", None)
        return self._next_app(environ, start_response)
