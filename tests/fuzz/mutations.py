"""Seeded mutations of headers, times and URLs."""

from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.bodies import build_malformed_form, build_malformed_json
from tests.fuzz.deliveries import FuzzRequest
from tests.fuzz.families import Family

_MAX_HEADER_CHARACTERS = 8_000
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FRAGMENTS: Sequence[str] = (
    *",;=:. \t\"'()[]{}?&%+-_|\\",
    *("==", ", ", "v1,", "v1a,", "v0=", "v1=", "t=", "sha256=", "sha1=", "Basic ", "Bearer "),
    *("sig=", "sig2=(", ":AAAA:", ";created=", "%00", "%zz"),
    *("\x00", "\x01", "\x7f", "\x80", "\xa0", "\xb2", "\xff", "\xc3\xa9"),
)
_VALUES: Sequence[str] = (
    *("", " ", ",", "=", "null", "undefined", "[object Object]", "0", "-1", "=" * 64, "0" * 64, "A" * 43 + "="),
    *("t=,v1=", "t=1,v1=", "v1,", "v1, v1,", "sha256=", "v0=", "sig=::", "sig=()"),
    *("Basic ", "Basic :", "Basic Og==", "Bearer ", "Bearer ..", "Bearer a.b.c"),
)
_INVALID_TIMES: Sequence[str] = (
    *("", "-1", "1e9", "1e999", "0x6543", "nan"),
    *("inf", "9" * 400, "9" * 12, "1_000_000_000", "\xb9\xb2\xb3", "\xd9\xa1\xd9\xa2"),
)
_TARGET_SUFFIXES: Sequence[str] = (
    *("&a=1", "&a", "#x", "&%00=%ff", "?", "&bodySHA256=" + "0" * 64, "&" * 2_000),
    *("&a=b" * 1_500, "&%", ";a=1", "&channel=1", "/", "%20"),
)


def mutate_text(rng: Random, text: str) -> str:
    """Return a mutated header value, which may be the same by chance."""
    mutated = rng.choice(_TEXT_MUTATIONS)(rng, text)[:_MAX_HEADER_CHARACTERS]
    return mutated.encode("latin-1", "replace").decode("latin-1")


def _insert(rng: Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(_FRAGMENTS) * rng.choice((1, 1, 2, 50)) + text[at:]


def _truncate(rng: Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _replace_character(rng: Random, text: str) -> str:
    at = rng.randrange(len(text) or 1)
    return text[:at] + chr(rng.choice((rng.randrange(256), rng.randrange(32, 127)))) + text[at + 1 :]


def _swap_characters(rng: Random, text: str) -> str:
    if len(text) < 2:
        return text + "x"
    first, second = sorted(rng.sample(range(len(text)), 2))
    return text[:first] + text[second] + text[first + 1 : second] + text[first] + text[second + 1 :]


def _change_encoding(rng: Random, text: str) -> str:
    mutations: Sequence[Callable[[], str]] = (
        text.upper,
        text.swapcase,
        lambda: text.encode("latin-1").hex(),
        lambda: text.translate({43: "-", 47: "_"}),
        lambda: text.rstrip("="),
        lambda: "".join(f"%{ord(letter):02x}" for letter in text),
        lambda: text.encode("utf-16").decode("latin-1"),
        lambda: text[::-1],
        lambda: f'"{text}"',
    )
    return rng.choice(mutations)()


def _repeat(rng: Random, text: str) -> str:
    """Return the value repeated; gunicorn joins repeated headers with commas."""
    separator = rng.choice((",", ", ", " ", ";", ""))
    return separator.join(
        [_replace_character(rng, text), *[text] * rng.choice((1, 2, 15, 16, 17, 100)), _truncate(rng, text)]
    )


def _build_garbage_text(rng: Random, _: str) -> str:
    if rng.random() < 0.5:
        return rng.choice(_VALUES)
    letters = rng.choice((_BASE64, "0123456789abcdef", "".join(map(chr, range(32, 256)))))
    return "".join(rng.choices(letters, k=rng.choice((1, 20, 44, 64, 88, 128, 500))))


def _build_huge_text(rng: Random, text: str) -> str:
    fragment = rng.choice((text, *_FRAGMENTS, "a=b,", "v1,AAAA ", "t=1,", 'a="', "(" * 7))
    return fragment * rng.choice((1_000, _MAX_HEADER_CHARACTERS))


def _replace_by_time(rng: Random, _: str) -> str:
    return build_invalid_time(rng, 1_800_000_000)


def build_invalid_time(rng: Random, now: int) -> str:
    """Return a text that is not a valid timestamp; `now` is in Unix seconds."""
    variants = (
        f"{now}.5.0",
        f"{now}.0 ",
        f"{now}e0",
        f"+{now}",
        f"-{now}",
        f"{now * 1_000}",
        f"{now},{now}",
        f"{now}Z",
    )
    return rng.choice((*variants, *_INVALID_TIMES))


_TEXT_MUTATIONS: Sequence[Callable[[Random, str], str]] = (
    *(_insert, _insert, _replace_character, _replace_character, _build_garbage_text, _build_garbage_text),
    *(_truncate, _swap_characters, _change_encoding, _repeat, _build_huge_text, _replace_by_time),
)


def mutate_headers(rng: Random, family: Family, request: FuzzRequest) -> FuzzRequest:
    """Change, remove or exchange one or more headers."""
    headers = dict(request.headers)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name, chance = rng.choice(family.headers), rng.random()
        if chance < 0.08:
            headers.pop(name, None)
        elif chance < 0.14:
            headers[name] = headers.get(rng.choice(family.headers), "")
        else:
            headers[name] = mutate_text(rng, headers.get(name, ""))
    return FuzzRequest(request.target, headers, request.body)


def mutate_target(rng: Random, request: FuzzRequest) -> FuzzRequest:
    """Change the URL so that it still routes to the endpoint."""
    mutations: Sequence[Callable[[], str]] = (
        lambda: request.target + rng.choice(_TARGET_SUFFIXES),
        lambda: request.target.partition("?")[0],
        lambda: request.target.partition("?")[0] + "?" + rng.choice(_TARGET_SUFFIXES),
        lambda: request.target.replace("channel", rng.choice(("Channel", "%63hannel", "channe", ""))),
        lambda: request.target.replace("/callbacks", "http://x.example/callbacks"),
    )
    return FuzzRequest(rng.choice(mutations)()[:_MAX_HEADER_CHARACTERS], request.headers, request.body)


def build_garbage(rng: Random, family: Family, request: FuzzRequest) -> FuzzRequest:
    """Return a request with the header names of a signed one and unrelated values."""
    headers = {name: mutate_text(rng, rng.choice(_VALUES)) for name in family.headers if rng.random() < 0.8}
    media_type = rng.choice(("", request.headers["content-type"], request.headers["content-type"] + ';charset="\xff"'))
    body = rng.choice((build_malformed_json, build_malformed_form))(
        rng, family.body if family.body.startswith(b"{") else b'{"id":"a","x":[]}'
    )
    return FuzzRequest(request.target, headers | ({"content-type": media_type} if media_type else {}), body)
