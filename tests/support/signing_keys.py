"""Private keys of invented providers, and their public keys in the forms in which providers publish them.

All signatures in tests are made by `cryptography` or by vendors' libraries, never by the code under test.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey

_RSA_PEMS = (
    """-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCtkltAQiSM/lEo
Im8cws7nTdoA3TyH6xu1pxXnf1glQzAatgLGMG7z2SGosH+6wOvZE9WrcSnrzeCJ
PcSrh7j7vOTWtGrCVfSGNGmh1yVu7xpTCgILUf7iscBz6Y2cV4G4FIRwM3WzyVcy
nBUVu+vJynZjnOV3gXm86NJJr7YxC/Gppde+8cBRwLvvxDjw94A6WyHzwgoJ8NFG
mlIOZAqN4+h8wFQZuNzWqGvdJ0bv2mHiX+UjZw5qUHiAiFCjVXXMr4ra30OtfRys
uOcnsJrGgrVpXBPTM6lY+8xb2B01pMUZNGOcV30kSU57FeMXoqdS8o8MRKre9d9U
+FFCmnbpAgMBAAECggEAOEeWcvV/aIAlzH+ty4OXFwT1RQZ3VBL1vybYQWHXMO3i
MScHK0AVGdgzw8DHCcT4NEDsLVTaJO1yes2ecYfmgSm0gbGqVC0Oxl1ESwe5yYiZ
3ocGNql1ngfIwUzfb+wn0YpFjyQAbDVCotRdOdjfEWUmkhITjXZcBNbxKJdi2e/e
RS8qQc7Q2KtmkyT7BK4YoUOzDCMmKarHIb6SQ0r/4pE5gXa/K02HCvS0rBxHV9tL
+gVjskNzReXnDs53DFfvehJPplWpnOOkpw+kT5k9Ooz5R+7daks6bdIyjRjiYrzt
73UwQWz6jfMygStLNLjswaCJhDR+rIvoqacdISUQiQKBgQDmVouXSrXzfjyp7nf8
di3TYH/9KOlXOjFSQ2xtLqnve3m+3r+rVsUuWqMB3jYvC2yLvRme+uHJ7eblI9cZ
mjprJOaY+OS3IkYkUn1ZR0hl9wgL6gBke0o2rr/05gqOeGBvBY/kpCovn+NlOXuY
f9NmJ+VGcd5+ZT9+jrpYK8gY0wKBgQDA6MgxpgXxHkC8gzf4nFA5ndVn0vzoiBSu
7ehh5mLGRA8uqy3T/FwZ8DroT73ytqR75bKg8vg55HXy0H6L+0/bq/rY3YFnh1II
iQUVwKHgrSSA6X2wiL4wtOyLHUm4hegrCjt5IZqeOKYwVFmwxqWgTydEczKmYQ6e
xhmnW9lb0wKBgQC+1ITh2yvTh4qK3t7Zcq+UqCZhfzuS4Mtr9CAodLiliA7da34w
XbsPJFhYe9k4MKbFPu2zIPdfbJIW1RKoS3aKvg+uPMaAUwz5mr3u8XexwnAQLtYU
aXCazTyLkOq+Dk0Wre0A6GFrA3RJsM4NEhn6UKNLMZu76/Ymy+jmk587sQKBgDTY
T+cR5PTNZcx+YbnQEEYIT6qWaMPGa2wULiGLfCl2AXa2W+KDcjOE1I5JMe6oS9zI
6qsehBNP22O967yrBpBVx2zbGRTkQ/uklWkFERM8OxC5Zb4TZ45uMZJWXpiWzifk
MLCZHQMU36nDoaJEeKC2rjoZGJntYpTqDaMEDUITAoGAXgZxjZhjFq6LWrI8Nbhp
pwqAHqpFedWGDBPnRg4LJlbNQK+kiAqbm5StYDFeAt3ShUqtpJKu5uEWhDA/ll0n
HMnvCK+bgpOKSHg0gV1Su3GxdCeYw3x2uSRhJOrpc7jsTMlcW3BGw46UT4rrhHGN
JPqmwqit5oUMMR7oKHvkaMc=
-----END PRIVATE KEY-----
""",
    """-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDQshnwkG6eyuD7
h9oVydHk/w31ZqOy8JtzXK4287EHKQxVaiGM+xq83xoLnLjOfHvZyvBGjA6+xcUq
lNzNXXU7zb9vS5NWe5nmo1Qgd9v9Yj7yAyoexEFG7eW1X5T9+SmyvWKA8yJ49gnv
1Jh39pU2kEJ2U5vn/zhfyztOqffAOC5f2YfX+/LbANkpCv4TJeX/qlPK/WoFmbMf
Fk4GhuGW1UuMP1OSHhg1viflOPjyPrYoslDSrV3q/c5qzS7svwXVyb5VLLAetlHU
ddPjR1VKKGX22Wag7YrOcXH0mOgSgaNBxNnkEDEkPg93GDxbWd1sr/uw8sXEHumX
le614t/pAgMBAAECggEACq6yQnA/hqXWpOCDJxjqmJYavxYH1y8IuKZdqhb6dC0Y
4j6bUyaxTxEZHSS3693dQGcxgUEpuEeZLgD5BC+h+2yEEt5jhl/METDQDzEuGvGc
ocbMBk95Elvh0Cad2dLeeNHkUCxwEq1UEeIoA4/6XoaSn3SzX+XeVAXWudIjUTWz
tkwdczPGtU6TQEefOUe08x2pmFIV14DFrGetoKsUCJWjeD8v11NlY29e5UW0DBrw
Dmvk4/U2qkcvbkwUUJEL6pIGfdcRbic49skTBfv6x9FAOIN50cDocXb+KOFoNnrU
SpxZd+l0xQ8Kr1JPiwZGTM33UT0InSi/tWNzxwxMLwKBgQD3YcGdznlDY5lJKsmz
XLyHPOEyR3N8cVXo9MUUtN/IpuIDgAXxcDfQY8/+P2kGf/XGrtokGs1+FkwzXqoz
CF+KyAcDJCRBl41OCt+MwdPx0xJVh/FUtaODLkRd94FXBNOcO9140MP7ZuW2gX1F
s3la/pVup+NSIlBObbXr9SFQMwKBgQDX91PVuOGjX3ri6w4aQ/1wEEKWg/UcGzcl
fnnr7rXI8vFssfWi39urX+UXE2gwI4f6j3/3lPZAA+8zGzus435FHfgJBzi+GvvJ
Rqxxwnh9YWKwGQSyIhgaFyPX3AoMQaiKuPLQ26eHo6AGXHRHanRuEMLhG6u+RK6R
rF/ur9fDcwKBgD0FiiMJGXR8DwWzXkm2KHMbm1kxstURh+WM60huTX1LXRkL7Wtf
CQWIeXf34EpQKio2W2zoh6QAkA9j3Iv2Fss/CCvIMIFVhu+nUvl/nm5aaH1cqTUC
ETF8qjSbpvX2JNS3F6yDorRS73sTeflFijvd7LJ9C1/pQvH1shhgQTVtAoGBALmy
0UNUVbBEyUWVF+s9yw4w7RC/JmOkgyaaOfvEpkrDmxP7cVs7YYdaTYIqDcxWwPWR
rlcUnyksOOGY6RcgBdMokb4xl3jfeuD3BBBNR42Hz3PcD02cQ10ryIYzjfA8BNBD
d4ZfWQ4og9D0bod54eNCRk+Jm4NfSzu3HEYArWZBAoGAFi7ejTZH3mYXy+CBWkQY
IbBvcDeeEiGnODBEVN6AFmNZPvtZ/KctOxPmHq1zA51322YxjShTsv/6jkUg5BFd
CcJuESDKCFFv8v9kLzvByGl3Ul6AJtyPqytd1CVAUCuJmIgdgz0XQQZeUtYP6iiW
r9beGz12xlMRA0y3O+qo73s=
-----END PRIVATE KEY-----
""",
    """-----BEGIN PRIVATE KEY-----
MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCQ38HcfOuPzT9g
1BihkmDP0NGO2aqFxnPvr4Ry1knxfteJCWYw+z7rgH9G6hoLtelBuSbO8pGhQ/Mt
ZGDU/1MArrU/CSqnysmA5awAgYCCQKcG7hLIJe+iG0pYmwDmRxvK7zMVx46l4i4x
8k5zFULiZC6rUPbbXPho0kVxjqIkgZZaPEHVMeF1RwcFrB5WdDTy+aV3wCMtpDXZ
xu49R2FcCUp3a1ArHwstelTad6AYL2lZ2biZWy1R6AYA6feH5Ifeq4xXCakTLzgM
zJcBmgIY60+N9TInzcorjAVhv3I6s57fibpJ4XgofnqAucxJcOz2RpabCc5Zg6SE
sZhvGE8lAgMBAAECggEAJO0rrCgZIMO3ilY1WwWE8KNwrqETglqVlXve3ih5m3jx
tiezqPt5S6yqhGhKMD7zUAHB/xC8Budbde/2cIQN44gkgYc0HKWnG9guschQeaLC
EBWhqutke6TKG/CSV5+7WUwD8OK3HNgcXzW8QkAilrLjZF5UNZCqboleEvZApN4S
sF53YKSdhLp0sWIJuPA+ArtCRUgDTK36douAsuNUZbwOEphJG25MlDJ+NYCuPBxG
QwJfU0FJ7ri2w4mkGViD72ZA71/EsdwoURGYruiA1IIQFKjBk4Fl7DGe75ym3l8W
G4ApcRuIlkyuoENKIMAhovAUFxR3WXKLTGZI2GP4RwKBgQDJNxujw3Hgj/cCq7G7
o/2vu/RyHAYhvvuOOJXgf1SrpVmCa+Be03sswYIsu+8RvICxlBCghW4afmJUoQ9H
oBBc8b03nibJXHIuauGH7MkG+fAyR8h8a3fOwd52+D9EYoGxes49TZFJyxIJA/vL
UskIFH8G+wHY+VgRPqQCalWzTwKBgQC4UZ0zMoH80GDz2zo0rQXnYYdAFdTkdvQB
tf0LOQBeLM5zO6qEakL9iDCMGdxljOBT2Q4PXwSSZpyDKEtNZyoJx0QxZz7mldCB
bxIK2frgXO9KIqFcn4w/8CX61ZxucJ7KUA/sYWQZ1Or2NFbrn137eGJ/nZIOGLfR
+E6XgKEJSwKBgAE6ZODLAJbuSgOqKJuMlK/N5eAMa70o/UAQ+Fk2bb3edH1nSydJ
Aydyxuie/QaOr/plfPR92/4tZ0w872rwfykSEKWWQYZZGhlObbH2sANq4xxrc73O
qhyI8mKngTtZnpEGvtuA7bIVmzaS36aOCswR0/Sm84vveaohR778BynhAoGAOxhP
ol6LNpdIvmaHXuQqhGjMiEt3mlhZG0NSAgsghxEuj9uNbC71k3vatNCFzTlBoyBw
VZVNTfMAMzz0B7kPzVrKDlzf2eYml5kY28nPmaeyQL6hpaSxvr4sLyPVp8ML5imN
MWh4Q5/0RUO6qojKBRov2mKWtVZPeU53RDPFbckCgYA67YC6+GajmiZ/KKdHfFk8
3AEQLCsOHeortwBQO8rZJWIP4rDwKMqZ+qLSgmvxlO/8wMihOQWHjNkRAseEoT63
0e9lROhDGqjraniVvM/tLSnGAUMCg2KpUJ4w420FBBhN/GFLRbhnSA5utu0r3q4W
331iwAudAtuUKAPG7CLZ4Q==
-----END PRIVATE KEY-----
""",
)


@cache
def get_rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    """Return one of three RSA keys of 2,048 bits."""
    key = serialization.load_pem_private_key(_RSA_PEMS[number].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@cache
def get_ec_key(number: int = 0, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    """Return one of any number of keys of a curve."""
    return ec.derive_private_key(number + 1_000_003, curve())


@cache
def get_ed25519_key(number: int = 0) -> Ed25519PrivateKey:
    """Return one of 256 ed25519 keys."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def export_pem(key: PrivateKey) -> str:
    """Return the public key in PEM."""
    public_format = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, public_format).decode()


def export_der(key: PrivateKey) -> str:
    """Return the public key in DER, in base64."""
    public_format = serialization.PublicFormat.SubjectPublicKeyInfo
    return b64encode(key.public_key().public_bytes(serialization.Encoding.DER, public_format)).decode()


def export_jwk(key: PrivateKey, **members: Any) -> dict[str, Any]:
    """Return the public key as a JWK with further members."""
    if isinstance(key, rsa.RSAPrivateKey):
        rsa_numbers = key.public_key().public_numbers()
        jwk = {"kty": "RSA", "n": _encode_number(rsa_numbers.n, 256), "e": _encode_number(rsa_numbers.e, 3)}
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        numbers, size = key.public_key().public_numbers(), (key.curve.key_size + 7) // 8
        name = {256: "P-256", 384: "P-384", 521: "P-521"}[key.curve.key_size]
        jwk = {"kty": "EC", "crv": name, "x": _encode_number(numbers.x, size), "y": _encode_number(numbers.y, size)}
    else:
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(key.public_key().public_bytes_raw())}
    return jwk | members


def build_jwks(*jwks: dict[str, Any]) -> bytes:
    """Return a JWKS document."""
    return json.dumps({"keys": jwks}).encode()


def build_certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, not_before: datetime, not_after: datetime
) -> bytes:
    """Return a certificate of the key in PEM, signed by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, not_before.astimezone(UTC), not_after.astimezone(UTC)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def encode_base64url(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _encode_number(number: int, size: int) -> str:
    return encode_base64url(number.to_bytes(size, "big"))


WEAK_RSA_JWK = json.dumps({"kty": "RSA", "n": encode_base64url(b"\xff" * 128), "e": "AQAB"})
"""A key of 1,024 bits, as text."""
