"""Length extension of SHA-256: the digest of a secret, a content and further bytes, without the secret."""

import struct
from decimal import Decimal, localcontext


def extend_sha256(digest: bytes, length: int, extension: bytes) -> tuple[bytes, bytes]:
    """Return what is appended to a content of `length` bytes whose SHA-256 is known, and the digest of the whole."""
    padding = b"\x80" + b"\0" * (-(length + 9) % 64) + (length * 8).to_bytes(8)
    state = list(struct.unpack(">8I", digest))
    padded_length = length + len(padding) + len(extension)
    tail = extension + b"\x80" + b"\0" * (-(padded_length + 9) % 64) + (padded_length * 8).to_bytes(8)
    for start in range(0, len(tail), 64):
        state = _compress(state, tail[start : start + 64])
    return padding + extension, struct.pack(">8I", *state)


def _compress(state: list[int], block: bytes) -> list[int]:
    """Return the state of SHA-256 after one more block (FIPS 180-4, section 6.2.2)."""
    words = list(struct.unpack(">16I", block))
    for index in range(16, 64):
        first, second = words[index - 15], words[index - 2]
        sigma_0 = _rotate(first, 7) ^ _rotate(first, 18) ^ first >> 3
        sigma_1 = _rotate(second, 17) ^ _rotate(second, 19) ^ second >> 10
        words.append((words[index - 16] + sigma_0 + words[index - 7] + sigma_1) & 0xFFFFFFFF)
    a, b, c, d, e, f, g, h = state
    for constant, word in zip(ROUND_CONSTANTS, words, strict=True):
        sum_1 = _rotate(e, 6) ^ _rotate(e, 11) ^ _rotate(e, 25)
        first = (h + sum_1 + (e & f ^ ~e & g) + constant + word) & 0xFFFFFFFF
        second = (_rotate(a, 2) ^ _rotate(a, 13) ^ _rotate(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (first + second) & 0xFFFFFFFF, a, b, c, (d + first) & 0xFFFFFFFF, e, f, g
    return [(old + new) & 0xFFFFFFFF for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]


def _rotate(word: int, count: int) -> int:
    return (word >> count | word << 32 - count) & 0xFFFFFFFF


def _compute_round_constants() -> list[int]:
    primes = [number for number in range(2, 312) if all(number % divisor for divisor in range(2, number))]
    with localcontext(prec=60):
        return [int((Decimal(prime) ** (Decimal(1) / 3) % 1) * 2**32) for prime in primes]


ROUND_CONSTANTS = _compute_round_constants()
