"""The compilation of recipes: every inconsistency is reported, all of them together."""

from typing import Any

import pytest

from receiver.signatures.coverage import Coverage
from receiver.signatures.key_checks import PlainSignatures
from receiver.signatures.key_sources import ConfiguredKeys
from receiver.signatures.parameters import SortedParameters
from receiver.signatures.recipe_compiler import InvalidRecipe
from tests.support.recipes import TOKENS, build_callback, build_recipe

NOT_COVERED = "Not covered by any token of signed, so anyone could change it."
NO_SOURCE = "Must be header:NAME, query:NAME or a JMESPath."
NO_NAME = "Must be header: followed by a name in ASCII without spaces or colons."
NO_PAIR = "pair:KEY requires format = pairs and cannot be the location of the signature itself."
UNDERSCORE = "Must not contain an underscore: web servers drop such headers, so that it is never received."
SAME_SEPARATOR = "Must differ from separator, which is a comma unless set."
ALGORITHMS = "Must be one of: sha1, sha224, sha256, sha384, sha512, md5, ed25519, rsa, ecdsa, jws, equals, basic."
HASHES = "Must be one of: sha1, sha224, sha256, sha384, sha512, md5."
KEYS = PlainSignatures(ConfiguredKeys(None, ()), "rsa")
PAIRS = {"format": "pairs", "pair": "s"}


@pytest.mark.parametrize(
    ("options", "errors"),
    [
        ({"source": ""}, {"source": NO_SOURCE}),
        ({"source": "header:"}, {"source": NO_NAME}),
        ({"source": "header:X Y"}, {"source": NO_NAME}),
        ({"source": "a["}, {"source": NO_SOURCE}),
        ({"source": "pair:t"}, {"source": NO_PAIR}),
        (
            {"algorithm": "rot13", "encoding": "x", "format": "y", "unit": "h", "key_encoding": "z"},
            {
                "algorithm": ALGORITHMS,
                "encoding": "Must be one of: hex, base64, base64url, base64-hex.",
                "key_encoding": "Must be one of: utf-8, hex, base64.",
                "format": "Must be one of: raw, pairs, list.",
                "unit": "Must be one of: s, ms, us, iso.",
            },
        ),
        ({"algorithm": "sha-256"}, {"algorithm": f"{ALGORITHMS} Did you mean sha256?"}),
        ({"signed": ""}, {"signed": f"Must contain at least one of: {TOKENS}."}),
        ({"signed": "constant"}, {"signed": f"Must contain at least one of: {TOKENS}."}),
        (
            {"signed": "{bodi}"},
            {"signed": f"Unknown token {{bodi}}. Must be one of: {TOKENS}. Did you mean {{body}}?"},
        ),
        ({"signed": "{body"}, {"signed": "Unmatched brace."}),
        ({"signed": "body}{body}"}, {"signed": "Unmatched brace."}),
        ({"signed": "{header:}"}, {"signed": f"Unknown token {{header:}}. Must be one of: {TOKENS}."}),
        ({"signed": "{field:a[}"}, {"signed": NO_SOURCE}),
        ({"signed": "{id}{timestamp}"}, {"signed": "{id} requires id to be set."}),
        ({"timestamp": "header:t"}, {"timestamp": NOT_COVERED}),
        ({"timestamp": "pair:t", "signed": "{timestamp}"}, {"timestamp": NO_PAIR}),
        ({"timestamp": "pair:t", **PAIRS}, {"timestamp": NOT_COVERED}),
        ({"tolerance": 3}, {"tolerance": "Requires timestamp."}),
        (
            {"tolerance": 3, "timestamp": "at"},
            {"unit": "Required to compare the timestamp. Must be one of: s, ms, us, iso."},
        ),
        ({"id": "header:id", "nonce": "query:n"}, {"id": NOT_COVERED, "nonce": NOT_COVERED}),
        ({"algorithm": "equals", "id": "id"}, {"id": NOT_COVERED}),
        ({"format": "pairs"}, {"pair": "Required for format = pairs."}),
        ({"pair": "v1"}, {"pair": "Requires format = pairs."}),
        ({"separator": ","}, {"separator": "Requires format = pairs or list."}),
        ({**PAIRS, "prefix": "x"}, {"prefix": "Not supported with format = pairs."}),
        ({"items": "a["}, {"items": "Must be a JMESPath."}),
        ({"algorithm": "ed25519", "key_encoding": "utf-8"}, {"key_encoding": "Must be hex or base64 for ed25519."}),
        ({"other_headers": ["X-Sig_2"]}, {"other_headers": UNDERSCORE}),
        ({"set_separator": " "}, {"set_separator": "Requires format = pairs."}),
        ({**PAIRS, "set_separator": ","}, {"set_separator": SAME_SEPARATOR}),
        ({**PAIRS, "separator": " ", "set_separator": " "}, {"set_separator": SAME_SEPARATOR}),
        (
            {**PAIRS, "set_separator": " ", "public_keys": KEYS, "other_headers": ["X-Sig-2"]},
            {
                "set_separator": "Not supported with public keys.",
                "other_headers": "Must be one header: pairs in several are not supported with public keys.",
            },
        ),
        (
            {"algorithm_header": "X-Alg"},
            {"algorithm_names": "Required with algorithm_header: the names in that header, and their algorithms."},
        ),
        (
            {"algorithm_names": {"A": "sha256"}},
            {"algorithm_header": "Required with algorithm_names: the header that has one of them."},
        ),
        (
            {"algorithm_header": "X_Alg", "algorithm_names": {"A": "ed25519"}},
            {"algorithm_header": UNDERSCORE, "algorithm_names": HASHES},
        ),
        ({"is_digest": True, "algorithm": "ed25519", "signed": "{secret}"}, {"algorithm": HASHES}),
        (
            {"parameters": SortedParameters(source="cookie")},
            {"parameters": "Must be one of: form, query, json, xml."},
        ),
        ({"signed": "{crc32}", "timestamp": "at"}, {"timestamp": NOT_COVERED}),
        ({"signed": "{raw:data}", "timestamp": "at"}, {"timestamp": NOT_COVERED}),
        (
            {"signed": "{sorted_params}", "parameters": SortedParameters(exclude=("at",)), "timestamp": "at"},
            {"timestamp": NOT_COVERED},
        ),
        (
            {"items": "[", "signed": "{", "timestamp": "(", "unit": "?"},
            {
                "items": "Must be a JMESPath.",
                "signed": "Unmatched brace.",
                "timestamp": NO_SOURCE,
                "unit": "Must be one of: s, ms, us, iso.",
            },
        ),
        ({"signed": "{timestamp}{body}", "timestamp": "header:"}, {"timestamp": NO_NAME}),
    ],
)
def test_invalid_recipe_reports_all_errors(options: dict[str, Any], errors: dict[str, str]) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        build_recipe(secrets=[], **options)
    assert caught.value.errors == errors
    assert str(caught.value) == " ".join(f"{name}: {message}" for name, message in caught.value.errors.items())


@pytest.mark.parametrize(
    "options",
    [
        {"format": "list", "separator": " "},
        {**PAIRS, "separator": ";"},
        {**PAIRS, "set_separator": " "},
        {**PAIRS, "other_headers": ["X-Sig-2"]},
        {"other_headers": ["X-Sig-2"], "public_keys": KEYS, "algorithm": "rsa"},
        {**PAIRS, "public_keys": KEYS, "algorithm": "rsa"},
        {**PAIRS, "timestamp": "pair:t", "signed": "{timestamp}.{body}"},
        {"timestamp": "at", "tolerance": 3, "unit": "s"},
        {"timestamp": "at"},
        {"algorithm": "ed25519", "key_encoding": "hex"},
        {"key_encoding": "utf-8"},
        {"algorithm_header": "X-Alg", "algorithm_names": {"A": "sha256"}},
        {"timestamp": "query:at", "signed": "{url}"},
        {"timestamp": "at", "signed": "{sorted_params}", "parameters": SortedParameters()},
    ],
)
def test_consistent_recipe_is_compiled(options: dict[str, Any]) -> None:
    assert build_recipe(secrets=[], **options).compiled.items is None


NO_SECRET = "Must contain {secret}: without it, anybody could compute the digest."
NOT_AT_END = (
    "Must end with {secret} or {body}: with the digest of one callback, anybody could extend what follows the secret."
)
SECRET_IS_KEY = "The secret is not a part of the content: it is the key. Only a digest has it in its content."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"is_digest": True, "signed": "{body}"}, NO_SECRET),
        ({"is_digest": True, "signed": "{secret}{body}{timestamp}", "timestamp": "header:t"}, NOT_AT_END),
        ({"is_digest": True, "signed": "{secret}{header:x}"}, NOT_AT_END),
        ({"is_digest": True, "signed": "{secret}{sorted_params}"}, NOT_AT_END),
        ({"is_digest": True, "signed": "{secret}{body}.", "algorithm": "md5"}, NOT_AT_END),
        ({"signed": "{body}{secret}"}, SECRET_IS_KEY),
        ({"signed": "{body_with_secret}", "source": "sig"}, SECRET_IS_KEY),
    ],
)
def test_content_of_digest_needs_secret_that_nothing_can_follow(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        build_recipe(**options)
    assert caught.value.errors == {"signed": message}


def test_hash_without_length_extension_may_end_with_anything() -> None:
    scheme = build_recipe(is_digest=True, algorithm="sha384", signed="{secret}{header:x}.{body}.")
    assert not scheme.coverage.is_extendable


DIGEST = {"is_digest": True, "signed": "{secret}{body}"}
SORTED = "{sorted_params}"


@pytest.mark.parametrize(
    ("options", "coverage"),
    [
        ({}, Coverage(body=True)),
        ({"algorithm": "equals"}, Coverage()),
        ({"signed": "{url}"}, Coverage(query=True)),
        (
            {"signed": "{path}.{content_type}.{query:q}"},
            Coverage(headers=frozenset({"content-type"}), parameters=frozenset({"q"})),
        ),
        (
            {"signed": "{header:X-A}.{raw:data}.{field:a.b}"},
            Coverage(headers=frozenset({"x-a"}), raw_members=("data",), fields=("a.b",)),
        ),
        ({"signed": SORTED}, Coverage(form=True)),
        ({"signed": SORTED, "parameters": SortedParameters(source="query")}, Coverage(query=True)),
        ({"signed": SORTED, "parameters": SortedParameters(source="json")}, Coverage(members="json")),
        (
            {"signed": SORTED, "parameters": SortedParameters(source="query", exclude=("sig",))},
            Coverage(members="query", excluded=frozenset({"sig"})),
        ),
        (
            {"signed": "{field:id}.{field:state}", "source": "sig", "items": "items"},
            Coverage(fields=("id", "state"), items="items"),
        ),
        ({"signed": "{field:id}{field:state}"}, Coverage(unseparated=("field:id", "field:state"))),
        (
            {"signed": "{header:X-A}{body}"},
            Coverage(body=True, is_extendable=True, unseparated=("body", "header:x-a")),
        ),
        (DIGEST, Coverage(body=True, is_extendable=True)),
        (DIGEST | {"algorithm": "sha384"}, Coverage(body=True)),
        (DIGEST | {"signed": "{body}{secret}"}, Coverage(body=True)),
    ],
)
def test_recipe_covers_what_its_content_contains(options: dict[str, Any], coverage: Coverage) -> None:
    assert build_recipe(**options).coverage == coverage


def test_callback_whose_items_are_signed_has_no_id() -> None:
    options = {"signed": "{id}.{body}", "id": "header:X-Id"}
    callback = build_callback({"x-id": "m-1"})
    assert build_recipe(**options).message_id(callback) == "m-1"
    assert build_recipe(**options, items="items", source="sig").message_id(callback) == ""


@pytest.mark.parametrize(
    ("options", "normalized"),
    [
        ({"signed": "{raw:list}"}, b"[(b'[1, 2]',)]"),
        ({"signed": "{raw:list}.{field:x}"}, b"[(b'2', b'[1, 2]')]"),
        ({"signed": SORTED, "parameters": SortedParameters(source="query")}, b'{"list": [1, 2], "x": 2}'),
    ],
)
def test_body_is_identified_by_its_signed_parts(options: dict[str, Any], normalized: bytes) -> None:
    callback = build_callback(body=b'{"list": [1, 2], "x": 2}')
    assert build_recipe(**options).normalize_body(callback) == normalized


def test_time_within_items_must_be_signed() -> None:
    options: dict[str, Any] = {"signed": "{field:id}.{field:at}", "source": "sig", "items": "items"}
    assert build_recipe(**options, timestamp="at").coverage.items == "items"
    with pytest.raises(InvalidRecipe) as caught:
        build_recipe(**options, timestamp="other")
    assert caught.value.errors == {"timestamp": NOT_COVERED}
