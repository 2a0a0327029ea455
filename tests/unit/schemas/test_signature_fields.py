"""The fields of the table `signature`: URL tokens, names of headers, and `params`."""

from typing import Any

import pytest
from marshmallow import ValidationError

from receiver.schemas.signature_fields import HeaderNames, ParameterTableSchema, UrlTokens, check_tokens
from receiver.signatures.parameters import SortedParameters

TOKEN = "an-unguessable_token1"


def test_tokens_and_headers_may_be_one_or_several() -> None:
    assert (UrlTokens().deserialize(TOKEN), UrlTokens().deserialize([TOKEN, TOKEN])) == ((TOKEN,), (TOKEN, TOKEN))
    assert (HeaderNames().deserialize("X"), HeaderNames().deserialize(["X", "Y"])) == (("X",), ("X", "Y"))


@pytest.mark.parametrize("value", ["short", 3, [], [TOKEN] * 11, [TOKEN, "short"], [None]])
def test_invalid_tokens_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        UrlTokens().deserialize(value)
    assert "short" not in str(caught.value)


def test_invalid_tokens_are_named_by_index() -> None:
    assert check_tokens([TOKEN, "short", 3]).keys() == {1, 2}


def test_table_of_parameters_has_the_defaults_of_sorted_parameters() -> None:
    assert ParameterTableSchema().load({}) == SortedParameters()
    table = {"source": "query", "assignment": "=", "exclude": ["sign"], "replacement": "_"}
    expected = SortedParameters("query", "=", exclude=("sign",), replacement="_")
    assert ParameterTableSchema().load(table) == expected
    assert ParameterTableSchema().validate({"source": "cookie", "exclude": "sign"}).keys() == {"source", "exclude"}
