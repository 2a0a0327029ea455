"""Response headers against caches and browsers that guess: nothing we serve may be stored or read as another type."""

from flask import Response

SECURITY_HEADERS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


def add_security_headers(response: Response) -> Response:
    """Add the headers to a response that does not set them itself."""
    for name, value in SECURITY_HEADERS:
        response.headers.setdefault(name, value)
    return response
