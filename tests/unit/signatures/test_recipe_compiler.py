"""The compilation of recipes: every inconsistency is reported, all of them together."""

from typing import Any

import pytest

from receiver.signatures.parameters import SortedParameters
from receiver.signatures.recipe_compiler import InvalidRecipe
from tests.support.recipes import build_recipe


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"source": ""}, {"source"}),
        ({"source": "header:"}, {"source"}),
        ({"source": "header:X Y"}, {"source"}),
        ({"source": "a["}, {"source"}),
        ({"source": "pair:t"}, {"source"}),
        (
            {"algorithm": "rot13", "encoding": "x", "format": "y", "unit": "h"},
            {"algorithm", "encoding", "format", "unit"},
        ),
        ({"signed": ""}, {"signed"}),
        ({"signed": "constant"}, {"signed"}),
        ({"signed": "{bodi}"}, {"signed"}),
        ({"signed": "{body"}, {"signed"}),
        ({"signed": "body}{body}"}, {"signed"}),
        ({"signed": "{header:}"}, {"signed"}),
        ({"signed": "{field:a[}"}, {"signed"}),
        ({"signed": "{id}{timestamp}"}, {"signed"}),
        ({"timestamp": "header:t"}, {"timestamp"}),
        ({"timestamp": "pair:t", "signed": "{timestamp}"}, {"timestamp"}),
        ({"tolerance": 3}, {"tolerance"}),
        ({"tolerance": 3, "timestamp": "at"}, {"unit"}),
        ({"id": "header:id", "nonce": "query:n"}, {"id", "nonce"}),
        ({"algorithm": "equals", "id": "id"}, {"id"}),
        ({"format": "pairs"}, {"pair"}),
        ({"pair": "v1"}, {"pair"}),
        ({"separator": ","}, {"separator"}),
        ({"format": "pairs", "pair": "v1", "prefix": "x"}, {"prefix"}),
        ({"items": "a["}, {"items"}),
        ({"algorithm": "ed25519", "key_encoding": "utf-8"}, {"key_encoding"}),
        ({"other_headers": ["X-Sig_2"]}, {"other_headers"}),
        ({"set_separator": " "}, {"set_separator"}),
        ({"format": "pairs", "pair": "s", "set_separator": ","}, {"set_separator"}),
        ({"format": "pairs", "pair": "s", "separator": " ", "set_separator": " "}, {"set_separator"}),
        ({"algorithm_header": "X-Alg"}, {"algorithm_names"}),
        ({"algorithm_names": {"A": "sha256"}}, {"algorithm_header"}),
        ({"algorithm_header": "X_Alg", "algorithm_names": {"A": "ed25519"}}, {"algorithm_header", "algorithm_names"}),
        ({"is_digest": True, "algorithm": "ed25519", "signed": "{secret}"}, {"algorithm"}),
        ({"parameters": SortedParameters(source="cookie")}, {"parameters"}),
        ({"signed": "{crc32}", "timestamp": "at"}, {"timestamp"}),
        ({"signed": "{raw:data}", "timestamp": "at"}, {"timestamp"}),
        (
            {"signed": "{sorted_params}", "parameters": SortedParameters(exclude=("at",)), "timestamp": "at"},
            {"timestamp"},
        ),
        ({"items": "[", "signed": "{", "timestamp": "(", "unit": "?"}, {"items", "signed", "timestamp", "unit"}),
    ],
)
def test_invalid_recipe_reports_all_errors(options: dict[str, Any], fields: set[str]) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        build_recipe(secrets=[], **options)
    assert caught.value.errors.keys() == fields


def test_unknown_token_error_lists_valid_tokens() -> None:
    with pytest.raises(InvalidRecipe, match=r"Unknown token \{bodi\}. Must be one of: \{body\}, .*\{field:PATH\}."):
        build_recipe(signed="{bodi}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"is_digest": True, "signed": "{body}"}, "Must contain {secret}"),
        ({"is_digest": True, "signed": "{secret}{body}{timestamp}", "timestamp": "header:t"}, "Must end with {secret}"),
        ({"is_digest": True, "signed": "{secret}{header:x}"}, "Must end with {secret}"),
        ({"is_digest": True, "signed": "{secret}{sorted_params}"}, "Must end with {secret}"),
        ({"is_digest": True, "signed": "{secret}{body}.", "algorithm": "md5"}, "Must end with {secret}"),
        ({"signed": "{body}{secret}"}, "Only a digest has it in its content"),
        ({"signed": "{body_with_secret}", "source": "sig"}, "Only a digest has it in its content"),
    ],
)
def test_content_of_digest_needs_secret_that_nothing_can_follow(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        build_recipe(**options)
    assert message in caught.value.errors["signed"]


def test_hash_without_length_extension_may_end_with_anything() -> None:
    scheme = build_recipe(is_digest=True, algorithm="sha384", signed="{secret}{header:x}.{body}.")
    assert not scheme.coverage.is_extendable
