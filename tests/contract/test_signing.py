"""What `receiver callback send` sends: sample callbacks of every provider, signed by the product itself, are accepted.

Providers whose public keys are fetched are given keys of our own, as a user does for a test.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from receiver.domain.callbacks import IncomingCallback
from receiver.providers.base import Provider
from receiver.providers.capabilities import NoSample
from receiver.providers.catalog.entries import CatalogEntry, list_entries, load_entry
from receiver.providers.registry import build_provider
from receiver.providers.samples import LocatedSamples
from receiver.signatures.base import InvalidSignature
from receiver.signatures.signers import CannotSign, Signer
from receiver.signatures.signing import sign_callback
from tests.contract import Case
from tests.contract.cases import CASES
from tests.contract.catalog import ENTRIES, NAME, build_entry_provider, expand
from tests.support.capabilities import callbacks_of, parse_reports_of
from tests.support.factories import NOON
from tests.support.private_keys import load_signing_key
from tests.support.signers import PUBLIC_URL
from tests.support.signing_keys import PrivateKey, export_jwk, get_ec_key, get_ed25519_key, get_rsa_key

ID = "0123456789abcdef"
RSA_KEY, EC_KEY, ES512_KEY, ED25519_KEY = get_rsa_key(), get_ec_key(), get_ec_key(0, ec.SECP521R1), get_ed25519_key(1)
PRIVATE_KEYS = [load_signing_key(key) for key in (RSA_KEY, EC_KEY, ES512_KEY, ED25519_KEY)]
"""The private keys of all public keys in the tables of cases."""
OWN_KEYS: Mapping[str, PrivateKey] = {"rsa": RSA_KEY, "ecdsa": EC_KEY, "ed25519": ED25519_KEY, "jws": ES512_KEY}
VENDOR_ONLY = {"fal", "sns", "paypal"}
"""The schemes that cannot have keys of our own."""
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_declared = pytest.mark.parametrize(
    "case", [case for case in CASES if isinstance(case.provider.samples, LocatedSamples)], ids=str
)
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


def build_own_keys(signature: Mapping[str, Any]) -> list[str]:
    is_es256 = signature.get("algorithms") == ["ES256"]
    key = EC_KEY if is_es256 else OWN_KEYS.get(signature["scheme"], RSA_KEY)
    return [json.dumps(export_jwk(key, kid="own-key"))]


def build_signable(case: Case) -> Provider:
    """Return the provider of a case, with a key of our own in place of fetched ones."""
    table: dict[str, Any] = case.table
    own = {key: value for key, value in table.items() if key != "kind"}
    configured = load_entry(table["kind"]).expand(own) if table["kind"] in list_entries() else table
    if "jwks_url" not in configured["signature"]:
        return case.provider
    signature = {key: value for key, value in configured["signature"].items() if key != "jwks_url"}
    signature["keys"] = build_own_keys(signature)
    return build_provider(case.vendor, {**table, "signature": signature})


def sign(provider: Provider, callback: IncomingCallback) -> IncomingCallback:
    """Sign a callback with the private key of the provider's public key, if it has one."""
    auth, error = callbacks_of(provider).settings.auth, None
    for private_key in PRIVATE_KEYS:
        try:
            return sign_callback(auth, replace(callback, public_url=PUBLIC_URL), Signer(NOON, ID, private_key))
        except CannotSign as failure:
            error = failure
    assert error
    raise error


def assert_accepted(provider: Provider, signed: IncomingCallback) -> None:
    """Check that a callback verifies by the first secret, and not without its signature."""
    auth = callbacks_of(provider).settings.auth
    assert auth.verify(signed) == (0 if auth.scheme else None)
    if auth.scheme and (names := auth.scheme.signature_headers):
        headers = {name: value for name, value in signed.headers.items() if name not in names}
        with pytest.raises(InvalidSignature):
            auth.verify(replace(signed, headers=headers))


def build_plain_callback(case: Case, file: str) -> IncomingCallback:
    """Return an unsigned callback as it is before it is compressed."""
    callback = case.build_callback(case.payload(file))
    headers = {name: value for name, value in callback.headers.items() if name != "content-encoding"}
    return callback if case.signs_encoded else replace(callback, headers=headers, body=case.payload(file))


@each_case
def test_every_payload_is_signed(case: Case) -> None:
    provider = build_signable(case)
    for file, reports in case.reports_by_file.items():
        callback = build_plain_callback(case, file)
        if case.signer in VENDOR_ONLY:
            with pytest.raises(CannotSign):
                sign(provider, callback)
        else:
            signed = sign(provider, callback)
            assert_accepted(provider, signed)
            assert [report for _, report in parse_reports_of(provider, signed).reports] == reports


@each_declared
def test_sample_of_every_status_is_read(case: Case) -> None:
    samples = case.provider.samples
    assert isinstance(samples, LocatedSamples)
    reference = "ref-1/ref-2" if len(samples.reference) > 1 else "ref-1"
    for status in samples.statuses or [""]:
        sample = samples.build("/callbacks/acme", reference, samples.find_status(status) or "", NOON, ID)
        [(_, report)] = parse_reports_of(case.provider, sample).reports
        assert (report.reference, report.provider_status or "") == (reference, status)


@pytest.mark.parametrize("path", ["join('/', [id, state])", "state || id"])
def test_path_that_calls_functions_has_no_sample(path: str) -> None:
    table = {
        "kind": "declared",
        "base_url": "https://acme.example",
        "signature": {"scheme": "github", "secrets": ["s"]},
    }
    callback = {"reference": "id", "status": path, "statuses": {"DONE": "succeeded"}}
    samples = build_provider(NAME, {**table, "callback": callback}).samples
    assert samples
    with pytest.raises(NoSample, match="No sample can be built for the path"):
        samples.build("/callbacks/acme", "ref-1", "DONE", NOON, ID)


@each_entry
def test_every_example_is_signed(entry: CatalogEntry) -> None:
    signature = expand(entry)["signature"]
    own = {"signature": {"keys": build_own_keys(signature)}} if "keys" in signature else {}
    provider = build_entry_provider(entry, **own)
    assert provider.samples
    for status in entry.examples.callback_statuses or [""]:
        sample = provider.samples.build(f"/callbacks/{NAME}", entry.examples.reference, status, NOON, ID)
        if signature["scheme"] in VENDOR_ONLY or {"jwks_url", "certificate_url"} & signature.keys():
            with pytest.raises(CannotSign):
                sign(provider, sample)
            continue
        signed = sign(provider, sample)
        assert_accepted(provider, signed)
        [(_, report)] = parse_reports_of(provider, signed).reports
        expected = None if report.needs_poll else entry.examples.callback_statuses.get(status)
        assert (report.reference, report.status) == (entry.examples.reference, expected)
