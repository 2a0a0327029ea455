"""The table `auth` with the scheme `oauth2`."""

from typing import Any

import pytest
from marshmallow import ValidationError

from receiver.schemas.oauth2 import AuthField

OAUTH2 = {"scheme": "oauth2", "token_url": "https://a.example/t", "client_id": "id", "client_secret": "secret"}


def load(table: object) -> Any:
    return AuthField().deserialize(table)


def find_errors(table: object) -> Any:
    with pytest.raises(ValidationError) as caught:
        load(table)
    return caught.value.messages


def test_each_scheme_has_keys_of_its_own() -> None:
    assert load(OAUTH2)["token_path"] == "access_token"
    assert load({"scheme": "bearer", "secret": "key"})["secret"] == "key"
    assert set(find_errors({**OAUTH2, "secret": "key"})) == {"secret"}
    assert set(find_errors({"scheme": "oauth2"})) == {"token_url", "client_id", "client_secret"}
    assert set(find_errors({"scheme": "bearer", "secret": "key", "token_url": "https://a.example"})) == {"token_url"}


def test_unknown_scheme_lists_all() -> None:
    [message] = find_errors({"scheme": "oauth", "secret": "key"})["scheme"]
    assert message == "Must be one of: bearer, header, basic, query, body, oauth2. Did you mean oauth2?"
    assert find_errors("bearer") == ["Not a valid table."]


@pytest.mark.parametrize(
    "url", ["a.example/t", "ftp://a.example", "https://u:p@a.example", "https://a.example/t?a b", "https://a.example?#"]
)
def test_token_url_must_be_a_url(url: str) -> None:
    assert set(find_errors({**OAUTH2, "token_url": url})) == {"token_url"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("client_id", "a b"),
        ("client_secret", "line\n"),
        ("client_auth", "header"),
        ("method", "PUT"),
        ("body", "xml"),
        ("scope", "é"),
        ("token_path", "a["),
        ("name", "a b"),
        ("prefix", "\n"),
    ],
)
def test_values_must_fit_their_place(key: str, value: str) -> None:
    assert set(find_errors({**OAUTH2, key: value})) == {key}
