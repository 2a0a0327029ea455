"""Refused callbacks: a count by provider, reason and caller, a bounded sample for `explain`, and the log.

Anybody can cause refusals, in any number. Memory, rows, bytes and log lines are therefore limited; only the counts are
complete.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from receiver.domain.addresses import group_address
from receiver.domain.buckets import TokenBucket
from receiver.domain.callbacks import IncomingCallback, limit_headers
from receiver.domain.jobs import derive_id
from receiver.domain.samples import Sample, choose_surplus
from receiver.providers.base import Provider
from receiver.schemas.api.providers import REFUSAL_REASONS
from receiver.store.callbacks import Refusal, RefusedCallback, Verdict, save_refusals, save_refused
from receiver.store.connections import Connection

MAX_SAMPLES_PER_PROVIDER = 100
"""The number of refused callbacks that are stored per provider."""
NOT_STORED = "_body"
"""The key in the `errors` of a refused callback whose body is too large to be stored."""
KEPT_HANDSHAKE = "kept_handshake"
"""The part of a handshake that is answered, and kept so that an admin can read a value in it."""
OTHER_REASONS = frozenset(REFUSAL_REASONS) - {"signature"}
"""The parts of a callback that are reasons by themselves; every other part belongs to the signature."""

_MAX_SAMPLES_PER_WRITE = 10
_MAX_ORIGINS = 20
_MAX_BUFFERED_BYTES = 4 << 20
_MAX_HEADER_BYTES = 16 << 10
_SMALL_BODY_BYTES = 4 << 10
_MAX_BODY_BYTES = 256 << 10
_MAX_IMPLAUSIBLE_BODY_BYTES = 16 << 10
_SAMPLE_BURST_BYTES = 2 << 20
_SAMPLE_BYTES_PER_S = 64 << 10
_LOG_BURST_LINES = 10
_LOG_LINES_PER_S = 0.2
_MAX_CALLERS = 200

_log = structlog.get_logger(__name__)

_Origin = tuple[bool, str, int]
"""Whether callbacks are plausible, their caller, and a hash of their form."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A delivery that may be stored; `body_bytes` is the size of its body, which may have been left out."""

    delivery: "RefusedDelivery"
    is_plausible: bool
    body_bytes: int


@dataclass(frozen=True, slots=True)
class RefusedDelivery:
    """A callback that was refused: the part of it that failed, and the reason as a sentence.

    `id` is that of the sample, if it is stored as one.
    """

    provider: Provider
    incoming: IncomingCallback
    part: str
    message: str
    id: UUID = field(default_factory=uuid7)


@dataclass(slots=True)
class _ProviderRefusals:
    """The refusals of one provider since the last write.

    Args:
        candidates: the first and the last delivery of each origin.
        counts: by reason and caller, the number and the time of the last one.
        log_lines: limits the lines of the log.
        suppressed: how many lines were left out.
    """

    candidates: dict[_Origin, list[_Candidate]] = field(default_factory=dict)
    counts: dict[tuple[str, str], tuple[int, datetime]] = field(default_factory=dict)
    log_lines: TokenBucket = field(default_factory=lambda: TokenBucket(_LOG_BURST_LINES, _LOG_LINES_PER_S))
    suppressed: int = 0

    def count(self, reason: str, caller: str, number: int, at: datetime) -> None:
        """Add to the count of a reason and caller; callers beyond the first ones count together."""
        key = (reason, caller)
        if key not in self.counts and len(self.counts) >= _MAX_CALLERS:
            key = (reason, "")
        before, last_at = self.counts.get(key, (0, at))
        self.counts[key] = (before + number, max(last_at, at))

    def add(self, origin: _Origin, candidate: _Candidate) -> bool:
        """Add a candidate, unless there are too many origins; a plausible one then replaces one that is not.

        Returns:
            Whether it was added. A later one may still take its place.
        """
        if origin not in self.candidates and len(self.candidates) >= _MAX_ORIGINS:
            implausible = next((other for other in self.candidates if not other[0]), None)
            if not candidate.is_plausible or implausible is None:
                return False
            del self.candidates[implausible]
        self.candidates[origin] = [*self.candidates.get(origin, ())[:1], candidate]
        return True

    @property
    def buffered_bytes(self) -> int:
        """The bytes of the bodies of all candidates."""
        return sum(len(item.delivery.incoming.body) for items in self.candidates.values() for item in items)


def find_reason(part: str) -> str:
    """Return the reason under which a refusal is counted, by the part of the callback that failed."""
    return part if part in OTHER_REASONS else "signature"


class RefusalLog:
    """The refusals of one process, until they are written."""

    def __init__(self) -> None:
        self._providers: defaultdict[str, _ProviderRefusals] = defaultdict(_ProviderRefusals)
        self._written_bytes = TokenBucket(_SAMPLE_BURST_BYTES, _SAMPLE_BYTES_PER_S)

    def record(self, delivery: RefusedDelivery) -> None:
        """Count a refused callback; log and sample it within the limits, without its secrets."""
        name, incoming, part = delivery.provider.name, delivery.incoming, delivery.part
        refusals, caller = self._providers[name], group_address(incoming.caller_address)
        refusals.count(find_reason(part), caller, 1, incoming.received_at)
        is_plausible = delivery.provider.require_callbacks().settings.auth.is_plausible(incoming)
        origin = (is_plausible, caller, hash((incoming.method, part, frozenset(incoming.headers))))
        headers, body_bytes = limit_headers(incoming.headers, _MAX_HEADER_BYTES), len(incoming.body)
        if headers is not incoming.headers:
            delivery = replace(delivery, incoming=replace(incoming, headers=headers))
        if body_bytes > (_MAX_BODY_BYTES if is_plausible else _MAX_IMPLAUSIBLE_BODY_BYTES) or (
            body_bytes > _SMALL_BODY_BYTES and self._buffered_bytes + body_bytes > _MAX_BUFFERED_BYTES
        ):
            delivery = replace(delivery, incoming=replace(delivery.incoming, body=b""))
        is_sampled = refusals.add(origin, _Candidate(delivery, is_plausible, body_bytes))
        if refusals.log_lines.take(1, time.monotonic()):
            _log_refusal(delivery, is_sampled=is_sampled)
        else:
            refusals.suppressed += 1

    @property
    def _buffered_bytes(self) -> int:
        return sum(refusals.buffered_bytes for refusals in list(self._providers.values()))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not any(refusals.counts for refusals in self._providers.values())

    def write(self, connection: Connection) -> None:
        """Store the counts and samples since the last write, and log how many lines were left out.

        Raises:
            StoreError: the counts were not stored; they are stored by the next write.
        """
        # Requests record meanwhile: what is written is taken out first.
        samples, counts = self._take_samples(), self._take_counts()
        try:
            save_refusals(connection, counts)
        except Exception:
            for refusal in counts:
                refusals = self._providers[refusal.provider]
                refusals.count(refusal.reason, refusal.caller_address, refusal.count, refusal.last_at)
            raise
        for sample in samples:
            _save_sample(connection, sample)

    def _take_counts(self) -> list[Refusal]:
        counts: list[Refusal] = []
        for provider, refusals in list(self._providers.items()):
            counts += [Refusal(provider, *key, *count) for key, count in refusals.counts.items()]
            refusals.counts = {}
            if refusals.suppressed:
                _log.info("callback_refusals.suppressed", provider=provider, count=refusals.suppressed)
                refusals.suppressed = 0
        return counts

    def _take_samples(self) -> list[RefusedCallback]:
        """Return the samples to store: a few of each provider, within the limit of bytes, the plausible ones first."""
        samples: list[RefusedCallback] = []
        for refusals in list(self._providers.values()):
            by_origin, refusals.candidates = refusals.candidates, {}
            candidates = [_build_sample(item) for items in by_origin.values() for item in items]
            surplus = set(choose_surplus(list(map(_summarize, candidates)), _MAX_SAMPLES_PER_WRITE))
            samples += [sample for sample in candidates if sample.id not in surplus]
        now = time.monotonic()
        samples.sort(key=lambda sample: not sample.is_plausible)
        return [sample for sample in samples if self._written_bytes.take(_summarize(sample).size, now)]


def _log_refusal(delivery: RefusedDelivery, *, is_sampled: bool) -> None:
    _log.info(
        "handshake.answered" if delivery.part == KEPT_HANDSHAKE else "callback.refused",
        provider=delivery.provider.name,
        part=delivery.part,
        reason=delivery.message,
        caller=delivery.incoming.caller_address,
        callback=str(delivery.id) if is_sampled else None,
    )


def _build_sample(candidate: _Candidate) -> RefusedCallback:
    """Return the row of a candidate, without the secrets in it."""
    delivery = candidate.delivery
    redacted = delivery.provider.require_callbacks().settings.auth.redact(delivery.incoming)
    part, errors = delivery.part, {delivery.part: [delivery.message]}
    if len(delivery.incoming.body) < candidate.body_bytes:
        errors[NOT_STORED] = [f"Not stored: {candidate.body_bytes} bytes."]
    form = sha256(" ".join([redacted.method, part, *sorted(redacted.headers)]).encode(errors="replace")).hexdigest()
    return RefusedCallback(
        id=delivery.id,
        identity=derive_id(delivery.provider.name.encode(), redacted.body),
        provider=delivery.provider.name,
        received_at=redacted.received_at,
        verdict=Verdict.REFUSED,
        method=redacted.method,
        target=redacted.target,
        headers=redacted.headers,
        body=redacted.body,
        errors=errors,
        verified=False,
        caller_address=redacted.caller_address or None,
        is_plausible=candidate.is_plausible,
        form=form[:16],
    )


def _summarize(sample: RefusedCallback) -> Sample[UUID]:
    header_bytes = sum(len(name) + len(value) for name, value in sample.headers.items())
    size = len(sample.body) + len(sample.target) + header_bytes
    caller = group_address(sample.caller_address or "")
    return Sample(sample.id, sample.received_at, sample.is_plausible, caller, sample.form, size)


def _save_sample(connection: Connection, sample: RefusedCallback) -> None:
    """Store one refused callback, in a statement of its own.

    The bytes of an unauthenticated caller may be such that Postgres cannot store them. They must not prevent the other
    samples from being stored.
    """
    try:
        save_refused(connection, [sample], max_per_provider=MAX_SAMPLES_PER_PROVIDER)
    except Exception as error:
        _log.info("callback_sample.write_failed", provider=sample.provider, error=str(error))
