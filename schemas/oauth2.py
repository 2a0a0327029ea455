"""Schemas of credentials by which access tokens are obtained, and of a provider's table `auth` as a whole."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from receiver.schemas.fields import Choice, StrictSchema, check_http_url
from receiver.schemas.paths import HEADER_NAME, HEADER_VALUE, JsonPathField, NamedValues
from receiver.schemas.settings import CREDENTIAL, PREFIX, AuthSchema

_SCHEME = "oauth2"
_TEXT = validate.Regexp(r"[ -~]*\Z", error="Must contain only printable ASCII characters.")


def _check_token_url(text: str) -> None:
    url, _, query = text.partition("?")
    check_http_url(url)
    if "#" in query or not query.isascii() or not query.isprintable() or " " in query:
        raise ValidationError("Must have a query in ASCII, without a fragment.")


class OAuth2Schema(StrictSchema):
    """Client credentials (OAuth 2.0), for which the provider's token endpoint issues access tokens.

    `name` is the header that carries the token, with `prefix` before it. `headers` and `params` are sent to the token
    endpoint in addition. With the method GET all parameters are sent in the query.
    """

    scheme = fields.String(required=True, validate=Choice([_SCHEME]))
    token_url = fields.String(required=True, validate=_check_token_url)
    client_id = fields.String(required=True, validate=CREDENTIAL)
    client_secret = fields.String(required=True, validate=CREDENTIAL)
    client_auth = fields.String(load_default="basic", validate=Choice(["basic", "body"]))
    method = fields.String(load_default="POST", validate=Choice(["POST", "GET"]))
    body = fields.String(load_default="form", validate=Choice(["form", "json"]))
    grant_type = fields.String(load_default="client_credentials", validate=_TEXT)
    scope = fields.String(load_default="", validate=_TEXT)
    audience = fields.String(load_default="", validate=_TEXT)
    params = NamedValues(keys=fields.String(), values=fields.String(), load_default=dict)
    headers = NamedValues(
        keys=fields.String(validate=HEADER_NAME), values=fields.String(validate=HEADER_VALUE), load_default=dict
    )
    token_path = JsonPathField(load_default="access_token")
    expires_path = JsonPathField(load_default="expires_in")
    name = fields.String(load_default="Authorization", validate=HEADER_NAME)
    prefix = fields.String(load_default="Bearer", validate=PREFIX)


class AuthField(fields.Field[Mapping[str, Any]]):
    """A table `auth`: of `OAuth2Schema` with the scheme `oauth2`, otherwise of `AuthSchema`."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise ValidationError("Not a valid table.")
        schema = OAuth2Schema() if value.get("scheme") == _SCHEME else AuthSchema()
        loaded: Mapping[str, Any] = schema.load(value)
        return loaded
