"""The spellings of an escaped query: none of them changes a parameter."""

from urllib.parse import parse_qsl, quote

from hypothesis import given
from hypothesis import strategies as st

from receiver.signatures.spellings import decode_query, list_spellings
from tests.support.recipes import build_callback, build_recipe, compute_mac, expect_rejection

escapes = st.sampled_from([f"%{code:02X}" for code in range(256)] + [f"%{code:02x}" for code in range(32, 128)])
queries = st.lists(escapes | st.sampled_from(list("ab=&%+;:@25")), max_size=12).map("".join)


@given(query=queries)
def test_decoding_changes_no_parameter(query: str) -> None:
    for spelling in list_spellings(f"/c?{query}"):
        path, _, decoded = spelling.partition("?")
        assert path == "/c"
        assert parse_qsl(decoded, keep_blank_values=True) == parse_qsl(query, keep_blank_values=True)
    assert decode_query(decode_query(query)) == decode_query(query)


def test_only_characters_that_separate_nothing_are_decoded() -> None:
    assert decode_query(quote(":/?@!$'()*,;", safe="")) == ":/?@!$'()*,;"
    for character in '&=+#% "<>[]{}|\\^`\n\0é':
        escaped = quote(character, safe="")
        assert decode_query(escaped) == escaped
    assert decode_query("%253A%2526") == "%253A%2526"


def test_received_spelling_comes_first_and_path_is_unchanged() -> None:
    target = "/c%3Aa?x=%3a%40%2C"
    assert list_spellings(target) == (target, "/c%3Aa?x=:@,", "/c%3Aa?x=:@%2C")
    assert list_spellings("/c%3A") == ("/c%3A",)
    assert list_spellings("/c?x=%20") == ("/c?x=%20",)


def test_url_may_be_signed_with_its_query_decoded() -> None:
    scheme, signed = build_recipe(signed="{url}{body}", decode_url=True), b"https://h.example/in/c?a=x:y@z&b=%26"
    for target in ("/c?a=x%3Ay%40z&b=%26", "/c?a=x:y@z&b=%26", "/c?a=x%3ay@z&b=%26"):
        callback = build_callback({"x-sig": compute_mac(signed)}, b"", target)
        assert scheme.verify(callback) == 0
        assert scheme.normalize_query(callback) == b"a=x:y@z&b=%26"
    for target in ("/c?a=x:y@z&b=&", "/c?a=x:y@z&b=%2526", "/c?a=x:y@z%26b=%26", "/c%3Fa=x:y@z&b=%26"):
        expect_rejection(scheme, build_callback({"x-sig": compute_mac(signed)}, b"", target))
    exact = build_recipe(signed="{url}{body}")
    expect_rejection(exact, build_callback({"x-sig": compute_mac(signed)}, b"", "/c?a=x%3Ay%40z&b=%26"))
