"""The algorithms of tokens, and the kind of key that each needs."""

import pytest

from receiver.signatures.jose import find_algorithm_errors


@pytest.mark.parametrize(
    ("algorithms", "has_secrets", "errors"),
    [
        (["HS256", "HS512"], True, []),
        (["RS256", "HS256", "EdDSA"], True, ["RS256, EdDSA: Requires keys, jwks_url or certificate_url."]),
        (["RS256", "EdDSA"], False, []),
        (["HS256", "RS256", "HS512"], False, ["HS256, HS512: Requires secrets."]),
    ],
)
def test_algorithm_of_another_kind_of_key_is_refused(
    algorithms: list[str], *, has_secrets: bool, errors: list[str]
) -> None:
    assert find_algorithm_errors(algorithms, has_secrets=has_secrets) == errors
