"""`verify`: CPU time to verify a signed callback, scheme by scheme, against the bare HMAC over the same bytes.

Schemes with public keys are compared with the bare check by `cryptography`, see `tests.benchmarks.verify_keys`.
"""

import hmac
import platform
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from receiver.domain.callbacks import IncomingCallback
from receiver.schemas.signatures import SignatureSchema
from receiver.signatures.base import Scheme
from tests.benchmarks.environment import BenchmarkFailed
from tests.benchmarks.results import Spread
from tests.benchmarks.verify_keys import MAX_RATIO, NAMES, RECIPES, build_sample
from tests.support.signers import ADYEN_BODY, SIGNERS

MAX_CPU_US = 15.0
"""The most CPU microseconds per callback of 1 KiB for HMAC schemes. Those that sign fields parse the body, too."""
SCHEMES: Mapping[str, str] = {
    "standard-webhooks": "sha256",
    "svix": "sha256",
    "openai": "sha256",
    "replicate": "sha256",
    "github": "sha256",
    "meta": "sha256",
    "stripe": "sha256",
    "mux": "sha256",
    "slack": "sha256",
    "zoom": "sha256",
    "shopify": "sha256",
    "twilio": "sha1",
    "square": "sha256",
    "paystack": "sha512",
    "flutterwave-v4": "sha256",
    "zendesk": "sha256",
    "sinch": "sha256",
    "sinch-voice": "sha256",
    "plivo-v2": "sha256",
    "adyen": "sha256",
    "termii": "sha512",
    "box": "sha256",
    "cloudinary": "sha1",
    "cloudinary-sha256": "sha256",
    "docusign": "sha256",
    "hookdeck": "sha256",
    "hubspot-v1": "sha256",
    "hubspot-v2": "sha256",
    "hubspot-v3": "sha256",
    "mandrill": "sha1",
    "persona": "sha256",
    "sumsub": "sha512",
    "transloadit": "sha384",
    "xero": "sha256",
}
"""The presets that use HMAC or a digest, with their hash algorithm."""
_NOW = 1_800_000_000
_BODY_BYTES = 1_024
_KEY = b"a secret of some length"
_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class VerifyLoad:
    """The load: `verifications` of each scheme in each of `rounds`."""

    rounds: int
    verifications: int


@dataclass(frozen=True, slots=True)
class SchemeResult:
    """One scheme: CPU microseconds of a verification and of a bare check, round by round."""

    name: str
    verification: Sequence[float]
    bare: Sequence[float]

    def compute_cost(self) -> Spread:
        """Return the CPU microseconds of a verification."""
        return Spread.from_values(self.verification)

    def compute_ratio(self) -> Spread:
        """Return the cost of a verification as a multiple of the bare check in the round next to it."""
        pairs = zip(self.verification, self.bare, strict=True)
        return Spread.from_values([verification / bare for verification, bare in pairs])

    def document(self) -> dict[str, Any]:
        """Return the result for JSON."""
        bare = Spread.from_values(self.bare).document()
        return {"cpu_us": self.compute_cost().document(), "bare_us": bare, "ratio": self.compute_ratio().document()}


@dataclass(frozen=True, slots=True)
class VerifyResults:
    """The results of all schemes, and the machine."""

    schemes: Sequence[SchemeResult]
    machine: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """Return the results for JSON."""
        schemes = {result.name: result.document() for result in self.schemes}
        return {"benchmark": "verify", "target_us": MAX_CPU_US, "schemes": schemes, "machine": dict(self.machine)}

    def table(self) -> str:
        """Return the results as text for people."""
        lines = [
            "CPU µs per callback of 1 KiB: median (minimum to maximum)",
            f"{'scheme':<18}  {'verified':^22}  {'bare':>9}  {'ratio':^20}",
            *map(_format_result, self.schemes),
            "",
            f"target: at most {MAX_CPU_US:.0f} µs; exceeded by: {', '.join(self._find_over()) or 'none'}",
            f"target of {', '.join(RECIPES)}: at most {MAX_RATIO} of the bare check; exceeded by: "
            + (", ".join(self._find_over_ratio()) or "none"),
            "",
            *(f"{name}: {value}" for name, value in self.machine.items()),
        ]
        return "\n".join(lines)

    def _find_over(self) -> list[str]:
        hmac_results = [result for result in self.schemes if result.name not in NAMES]
        return [result.name for result in hmac_results if result.compute_cost().median > MAX_CPU_US]

    def _find_over_ratio(self) -> list[str]:
        recipes = [result for result in self.schemes if result.name in RECIPES]
        return [result.name for result in recipes if result.compute_ratio().median > MAX_RATIO]


def _format_result(result: SchemeResult) -> str:
    cost, ratio, bare = result.compute_cost(), result.compute_ratio(), Spread.from_values(result.bare)
    costs = f"{cost.median:.1f} ({cost.low:.1f} to {cost.high:.1f})"
    ratios = f"{ratio.median:.1f} ({ratio.low:.1f} to {ratio.high:.1f})"
    return f"{result.name:<18}  {costs:>22}  {bare.median:>9.1f}  {ratios:>20}"


def compare(load: VerifyLoad) -> VerifyResults:
    """Run the benchmark: in every round each scheme next to its bare check.

    Raises:
        BenchmarkFailed: a scheme does not verify a callback that was signed for it.
    """
    pairs = [(name, *_build_contenders(name)) for name in SCHEMES]
    for name in NAMES:
        sample = build_sample(name)
        pairs.append((name, sample.verify, sample.check_bare))
    for _, verify, digest in pairs:
        _measure_cpu(verify, load.verifications // 10)
        _measure_cpu(digest, load.verifications // 10)
    rounds = [
        [
            (_measure_cpu(verify, load.verifications), _measure_cpu(digest, load.verifications))
            for _, verify, digest in pairs
        ]
        for _ in range(load.rounds)
    ]
    results = [
        SchemeResult(name, [costs[index][0] for costs in rounds], [costs[index][1] for costs in rounds])
        for index, (name, _, _) in enumerate(pairs)
    ]
    return VerifyResults(results, {"python": platform.python_version()})


def _measure_cpu(function: Callable[[], object], calls: int) -> float:
    """Return the CPU microseconds of one call."""
    started_at = time.process_time()
    for _ in range(calls):
        function()
    return (time.process_time() - started_at) / max(calls, 1) * _MICROSECONDS


def _build_contenders(name: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a function that verifies a callback by a scheme, and one that compares the bare HMAC of its body."""
    scheme, incoming = sign_sample(name)
    _check_verified(name, scheme, incoming)
    algorithm, body = SCHEMES[name], incoming.body
    signature = b64encode(hmac.digest(_KEY, body, algorithm))

    def compare_digest() -> bool:
        return hmac.compare_digest(b64encode(hmac.digest(_KEY, body, algorithm)), signature)

    return lambda: scheme.verify(incoming), compare_digest


def sign_sample(name: str) -> tuple[Scheme, IncomingCallback]:
    """Return a preset's scheme, as the settings build it, and a callback of 1 KiB signed for it."""
    signer = SIGNERS[name]
    auth = SignatureSchema().load({"scheme": name, "secrets": [signer.secret], **signer.options})
    if auth.scheme is None:
        raise BenchmarkFailed(f"{name} has no scheme")
    return auth.scheme, signer.sign(signer.secret, _build_body(name), _NOW).to_callback(_NOW)


def _build_body(name: str) -> bytes:
    """Return a body of 1 KiB before signing; Adyen's has one item."""
    document: dict[str, Any] = {"id": "job-1", "status": "done"}
    if name == "adyen":
        document = orjson.loads(ADYEN_BODY)
        del document["notificationItems"][1:]
    document["text"] = ""
    document["text"] = "x" * (_BODY_BYTES - len(orjson.dumps(document)))
    return orjson.dumps(document)


def _check_verified(name: str, scheme: Scheme, incoming: IncomingCallback) -> None:
    index = scheme.verify(incoming)
    if index != 0:
        raise BenchmarkFailed(f"{name}: secret {index} matched, but only secret 0 is configured")
