"""The compilation of recipes: every inconsistency is reported, all of them together."""

from typing import Any

import pytest

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
