"""The style sheet, the script and the icon of the pages. Browsers keep them: their URLs change with their content."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from flask import Response, url_for

_TYPES: Mapping[str, str] = {
    "admin.css": "text/css; charset=utf-8",
    "admin.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_CACHE_CONTROL = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    media_type: str
    version: str


def _load(name: str) -> _Asset:
    content = (files("receiver.web.admin") / "static" / name).read_bytes()
    return _Asset(content, _TYPES[name], sha256(content).hexdigest()[:12])


_ASSETS = {name: _load(name) for name in _TYPES}


def build_url(name: str) -> str:
    """Return the URL of an asset."""
    return url_for("admin.serve_asset", name=name, v=_ASSETS[name].version)


def build_response(name: str) -> Response | None:
    """Return the response with an asset, or None if there is none of this name."""
    asset = _ASSETS.get(name)
    if asset is None:
        return None
    headers = {"Cache-Control": _CACHE_CONTROL, "X-Content-Type-Options": "nosniff"}
    return Response(asset.content, headers=headers, content_type=asset.media_type)
