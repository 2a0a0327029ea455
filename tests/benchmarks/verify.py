"""`verify`: CPU time of verifying a signed callback, scheme by scheme, against the bare HMAC over the same bytes."""

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
from tests.benchmarks.figures import Spread
from tests.benchmarks.stage import BenchmarkFailed
from tests.signers import ADYEN_BODY, SIGNERS

TARGET = 60.0
"""At most so many microseconds of CPU per callback of 1 KiB, for HMAC schemes."""
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
}
"""The presets that are HMAC, with their hash."""
_NOW = 1_800_000_000
_SIZE = 1_024
_KEY = b"a secret of some length"
_MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Load:
    """How much is measured: `verifications` of each scheme in each of `rounds`."""

    rounds: int
    verifications: int


@dataclass(frozen=True, slots=True)
class Figure:
    """One scheme: CPU microseconds for each verification and for each bare HMAC, round by round."""

    name: str
    ours: Sequence[float]
    bare: Sequence[float]

    def cost(self) -> Spread:
        """Give the CPU microseconds of a verification."""
        return Spread.of(self.ours)

    def ratio(self) -> Spread:
        """Give how many bare HMACs a verification costs; each round counts against its neighbour in time."""
        return Spread.of([ours / bare for ours, bare in zip(self.ours, self.bare, strict=True)])

    def document(self) -> dict[str, Any]:
        """Give it for JSON."""
        bare = Spread.of(self.bare).document()
        return {"cpu_us": self.cost().document(), "bare_us": bare, "ratio": self.ratio().document()}


@dataclass(frozen=True, slots=True)
class Figures:
    """All schemes, and on what machine."""

    schemes: Sequence[Figure]
    machine: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """Give everything for JSON."""
        schemes = {each.name: each.document() for each in self.schemes}
        return {"benchmark": "verify", "target_us": TARGET, "schemes": schemes, "machine": dict(self.machine)}

    def table(self) -> str:
        """Give everything as text for people."""
        lines = [
            "CPU µs per callback of 1 KiB: median (least to most)",
            f"{'scheme':<18}  {'verified':^22}  {'bare HMAC':>9}  {'ratio':^20}",
            *map(_line, self.schemes),
            "",
            f"target: at most {TARGET:.0f} µs; over it: {', '.join(self._over()) or 'none'}",
            "",
            *(f"{what}: {value}" for what, value in self.machine.items()),
        ]
        return "\n".join(lines)

    def _over(self) -> list[str]:
        return [each.name for each in self.schemes if each.cost().median > TARGET]


def _line(figure: Figure) -> str:
    cost, ratio, bare = figure.cost(), figure.ratio(), Spread.of(figure.bare)
    told = f"{cost.median:.1f} ({cost.low:.1f} to {cost.high:.1f})"
    times = f"{ratio.median:.1f} ({ratio.low:.1f} to {ratio.high:.1f})"
    return f"{figure.name:<18}  {told:>22}  {bare.median:>9.1f}  {times:>20}"


def compare(load: Load) -> Figures:
    """Run the benchmark: in every round each scheme beside the bare HMAC.

    Raises:
        BenchmarkFailed: a scheme does not verify what was signed for it, or takes what was not.
    """
    pairs = [(name, *_contenders(name)) for name in SCHEMES]
    for _, ours, bare in pairs:
        _cpu(ours, load.verifications // 10)
        _cpu(bare, load.verifications // 10)
    rounds = [
        [(_cpu(ours, load.verifications), _cpu(bare, load.verifications)) for _, ours, bare in pairs]
        for _ in range(load.rounds)
    ]
    figures = [
        Figure(name, [each[index][0] for each in rounds], [each[index][1] for each in rounds])
        for index, (name, _, _) in enumerate(pairs)
    ]
    return Figures(figures, {"python": platform.python_version()})


def _cpu(work: Callable[[], object], times: int) -> float:
    """Give the CPU microseconds of one call."""
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / max(times, 1) * _MICRO


def _contenders(name: str) -> tuple[Callable[[], object], Callable[[], object]]:
    scheme, incoming = prepared(name)
    _demand_verified(name, scheme, incoming)
    algorithm, body = SCHEMES[name], incoming.body
    given = b64encode(hmac.digest(_KEY, body, algorithm))

    def bare() -> bool:
        return hmac.compare_digest(b64encode(hmac.digest(_KEY, body, algorithm)), given)

    return lambda: scheme.verify(incoming), bare


def prepared(name: str) -> tuple[Scheme, IncomingCallback]:
    """Give a preset's scheme, as the settings build it, and a callback of 1 KiB that was signed for it."""
    signer = SIGNERS[name]
    auth = SignatureSchema().load({"scheme": name, "secrets": [signer.secret], **signer.options})
    if auth.scheme is None:
        raise BenchmarkFailed(f"{name} has no scheme")
    return auth.scheme, signer.sign(signer.secret, _body(name), _NOW).to_callback(_NOW)


def _body(name: str) -> bytes:
    """Give a body of 1 KiB, before it is signed; Adyen's has one item."""
    document: dict[str, Any] = {"id": "job-1", "status": "done"}
    if name == "adyen":
        document = orjson.loads(ADYEN_BODY)
        del document["notificationItems"][1:]
    document["text"] = ""
    document["text"] = "x" * (_SIZE - len(orjson.dumps(document)))
    return orjson.dumps(document)


def _demand_verified(name: str, scheme: Scheme, incoming: IncomingCallback) -> None:
    index = scheme.verify(incoming)
    if index != 0:
        raise BenchmarkFailed(f"{name}: the secret {index} matched, not the only one")
