"""Seeded mutations, fast and crude, of what stands before the body: header texts, times, URLs."""

from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.bodies import malformed_form, malformed_json
from tests.fuzz.deliveries import Sent
from tests.fuzz.families import Family

_LONGEST_HEADER = 8_000
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PIECES: Sequence[str] = (
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
_STRANGE_TIMES: Sequence[str] = (
    *("", "-1", "1e9", "1e999", "0x6543", "nan"),
    *("inf", "9" * 400, "9" * 12, "1_000_000_000", "\xb9\xb2\xb3", "\xd9\xa1\xd9\xa2"),
)
_TARGETS: Sequence[str] = (
    *("&a=1", "&a", "#x", "&%00=%ff", "?", "&bodySHA256=" + "0" * 64, "&" * 2_000),
    *("&a=b" * 1_500, "&%", ";a=1", "&channel=1", "/", "%20"),
)


def changed_text(rng: Random, text: str) -> str:
    """Give a header's value changed in some way; it may come out as it was."""
    changed = rng.choice(_TEXT_CHANGES)(rng, text)[:_LONGEST_HEADER]
    return changed.encode("latin-1", "replace").decode("latin-1")


def _spliced(rng: Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(_PIECES) * rng.choice((1, 1, 2, 50)) + text[at:]


def _cut(rng: Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _flipped(rng: Random, text: str) -> str:
    at = rng.randrange(len(text) or 1)
    return text[:at] + chr(rng.choice((rng.randrange(256), rng.randrange(32, 127)))) + text[at + 1 :]


def _swapped(rng: Random, text: str) -> str:
    if len(text) < 2:
        return text + "x"
    one, other = sorted(rng.sample(range(len(text)), 2))
    return text[:one] + text[other] + text[one + 1 : other] + text[one] + text[other + 1 :]


def _otherwise_encoded(rng: Random, text: str) -> str:
    ways: Sequence[Callable[[], str]] = (
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
    return rng.choice(ways)()


def _repeated(rng: Random, text: str) -> str:
    """Give it again and again; gunicorn joins a header that came more than once by commas."""
    joint = rng.choice((",", ", ", " ", ";", ""))
    return joint.join([_flipped(rng, text), *[text] * rng.choice((1, 2, 15, 16, 17, 100)), _cut(rng, text)])


def _garbage(rng: Random, _: str) -> str:
    if rng.random() < 0.5:
        return rng.choice(_VALUES)
    letters = rng.choice((_BASE64, "0123456789abcdef", "".join(map(chr, range(32, 256)))))
    return "".join(rng.choices(letters, k=rng.choice((1, 20, 44, 64, 88, 128, 500))))


def _huge(rng: Random, text: str) -> str:
    piece = rng.choice((text, *_PIECES, "a=b,", "v1,AAAA ", "t=1,", 'a="', "(" * 7))
    return piece * rng.choice((1_000, _LONGEST_HEADER))


def _as_time(rng: Random, _: str) -> str:
    return strange_time(rng, 1_800_000_000)


def strange_time(rng: Random, now: int) -> str:
    """Give a text that is no time to be taken, `now` being Unix seconds."""
    forms = (f"{now}.5", f"{now}.0", f"{now}e0", f"+{now}", f"-{now}", f"{now * 1_000}", f"{now},{now}", f"{now}Z")
    return rng.choice((*forms, *_STRANGE_TIMES))


_TEXT_CHANGES: Sequence[Callable[[Random, str], str]] = (
    *(_spliced, _spliced, _flipped, _flipped, _garbage, _garbage),
    *(_cut, _swapped, _otherwise_encoded, _repeated, _huge, _as_time),
)


def changed_headers(rng: Random, family: Family, sent: Sent) -> Sent:
    """Change, drop or exchange one header or several."""
    headers = dict(sent.headers)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name, chance = rng.choice(family.headers), rng.random()
        if chance < 0.08:
            headers.pop(name, None)
        elif chance < 0.14:
            headers[name] = headers.get(rng.choice(family.headers), "")
        else:
            headers[name] = changed_text(rng, headers.get(name, ""))
    return Sent(sent.target, headers, sent.body)


def changed_target(rng: Random, sent: Sent) -> Sent:
    """Change the URL such that it still leads to the endpoint."""
    ways: Sequence[Callable[[], str]] = (
        lambda: sent.target + rng.choice(_TARGETS),
        lambda: sent.target.partition("?")[0],
        lambda: sent.target.partition("?")[0] + "?" + rng.choice(_TARGETS),
        lambda: sent.target.replace("channel", rng.choice(("Channel", "%63hannel", "channe", ""))),
        lambda: sent.target.replace(
            "/callbacks", rng.choice(("/%63allbacks", "/callback%73", "http://x.example/callbacks"))
        ),
        lambda: sent.target.replace("acme", rng.choice(("%61cme", "acm%65", "%61%63%6D%65"))),
    )
    return Sent(rng.choice(ways)()[:_LONGEST_HEADER], sent.headers, sent.body)


def garbage(rng: Random, family: Family, sent: Sent) -> Sent:
    """Give a delivery that owes nothing to a signed one but the names."""
    headers = {name: changed_text(rng, rng.choice(_VALUES)) for name in family.headers if rng.random() < 0.8}
    media_type = rng.choice(("", sent.headers["content-type"], sent.headers["content-type"] + ';charset="\xff"'))
    body = rng.choice((malformed_json, malformed_form))(
        rng, family.body if family.body.startswith(b"{") else b'{"id":"a","x":[]}'
    )
    return Sent(sent.target, headers | ({"content-type": media_type} if media_type else {}), body)
