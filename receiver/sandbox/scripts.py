"""Scripts: what the sandbox does with a request, which follows only from the seed and the request's number.

`SPECIAL_RESPONSES` is the table of responses, `CallbackKind` the list of callback behaviors. In any 60 consecutive
requests each special response occurs once, in an order that the seed shuffles; all others get a plain 202. Requests
with callbacks cycle through the kinds of callback. No clock, no I/O.
"""

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum, auto
from functools import cache
from itertools import accumulate, cycle, islice
from random import Random
from typing import Literal
from zlib import crc32

CYCLE_LENGTH = 60
FAILING_SHARE = 0.2
SHORT_PAUSE_S = (0.05, 0.4)
LATE_PAUSE_S = (4.0, 5.0)


class Code(IntEnum):
    """The code of one recipient in a response; only accepted and delivered recipients get a reference."""

    DELIVERED = 1800
    ACCEPTED = 1801
    NO_BALANCE = 1804
    INVALID_RECIPIENT = 1806
    BUSY = 1899
    UNDOCUMENTED = 7777


REFUSED_CODES = frozenset({Code.NO_BALANCE, Code.INVALID_RECIPIENT})


class State(StrEnum):
    """The state of a job in callbacks and polls; the first two are in progress, the others final."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    UNDELIVERED = "UNDELIVERED"
    EXPIRED = "EXPIRED"


class CallbackKind(StrEnum):
    """How the callbacks of a job misbehave; `receiver.sandbox.callbacks` implements each kind."""

    NORMAL = auto()
    LOST = auto()
    SILENT = auto()
    DUPLICATE = auto()
    EARLY = auto()
    LATE = auto()
    OUT_OF_ORDER = auto()
    FORGED = auto()
    CONTRADICTING = auto()
    MALFORMED = auto()
    BULK = auto()


class ResponseDelivery(StrEnum):
    """Whether the client receives the first response to an accepted request."""

    NORMAL = auto()
    DROP = auto()
    HANG = auto()


@dataclass(frozen=True, slots=True)
class ScriptedRefusal:
    """A response that refuses a request.

    Attributes:
        status: the HTTP status.
        permanent: whether every attempt is refused, not only the first one.
        retry_after: the form of the `Retry-After` header; None for no header.
    """

    status: int
    permanent: bool = False
    retry_after: Literal["seconds", "date"] | None = None


@dataclass(frozen=True, slots=True)
class ScriptedResponse:
    """One row of the table of responses.

    Attributes:
        kind: the row's name in the ledger.
        refusal: the response to the first attempt, or to all attempts if permanent; None accepts the request at once.
        status: the HTTP status of the response to an accepted request.
        codes: the codes of the recipients, repeated cyclically; empty for a response without a body.
        recipients: the number of recipients that shows the whole row.
        hints: whether the response has `Location` and `Retry-After` headers.
        delivery: whether the client receives the response.
        callback: the kind of callback of this row; None for the next one in the cycle.
    """

    kind: str
    refusal: ScriptedRefusal | None = None
    status: int = 202
    codes: tuple[Code, ...] = (Code.ACCEPTED,)
    recipients: int = 1
    hints: bool = False
    delivery: ResponseDelivery = ResponseDelivery.NORMAL
    callback: CallbackKind | None = None

    @property
    def has_callbacks(self) -> bool:
        """Whether the response opens a job that is not final immediately."""
        return Code.ACCEPTED in self.codes and not (self.refusal and self.refusal.permanent)

    def find_refusal(self, attempt: int) -> ScriptedRefusal | None:
        """Return the refusal of an attempt (the first is 1), or None if it is accepted."""
        return self.refusal if self.refusal and (attempt == 1 or self.refusal.permanent) else None

    def list_codes(self, recipients: int) -> tuple[Code, ...]:
        """Return one code for each recipient; empty if the response has no items."""
        return tuple(islice(cycle(self.codes), recipients))

    def derive_status(self, recipients: int, resendable: bool) -> str:
        """Return the status that the request must have at the end.

        Args:
            recipients: the number of recipients.
            resendable: whether the client sent an idempotency key, and can therefore resend after a lost response.
        """
        gateway_timeout = self.refusal is not None and self.refusal.status == 504
        if not resendable and (gateway_timeout or self.delivery is not ResponseDelivery.NORMAL):
            return "unknown"
        if self.refusal and self.refusal.permanent:
            return "failed" if self.refusal.status >= 500 else "rejected"
        return _derive_status_from_codes(set(self.list_codes(recipients)))


def _derive_status_from_codes(codes: set[Code]) -> str:
    if Code.ACCEPTED in codes:
        return "accepted"
    if Code.UNDOCUMENTED in codes:
        return "unknown"
    return "rejected" if codes and codes <= REFUSED_CODES else "completed"


PLAIN_RESPONSE = ScriptedResponse("202")
PAUSING_RESPONSE = ScriptedResponse("401 then 202", ScriptedRefusal(401))
SPECIAL_RESPONSES = (
    ScriptedResponse(
        "200 mixed",
        status=200,
        codes=(Code.ACCEPTED, Code.DELIVERED, Code.INVALID_RECIPIENT, Code.NO_BALANCE),
        recipients=4,
    ),
    ScriptedResponse("200 refused", status=200, codes=(Code.INVALID_RECIPIENT, Code.NO_BALANCE), recipients=2),
    ScriptedResponse("200 delivered", status=200, codes=(Code.DELIVERED,), recipients=2),
    ScriptedResponse("200 unknown code", status=200, codes=(Code.UNDOCUMENTED,)),
    ScriptedResponse("200 busy then 202", ScriptedRefusal(200)),
    ScriptedResponse("201", status=201),
    ScriptedResponse("202 with hints", hints=True),
    ScriptedResponse("202 broadcast", recipients=5, callback=CallbackKind.BULK),
    ScriptedResponse("204", status=204, codes=()),
    ScriptedResponse("400", ScriptedRefusal(400, permanent=True)),
    PAUSING_RESPONSE,
    ScriptedResponse("403", ScriptedRefusal(403, permanent=True)),
    ScriptedResponse("404", ScriptedRefusal(404, permanent=True)),
    ScriptedResponse("405", ScriptedRefusal(405, permanent=True)),
    ScriptedResponse("409", ScriptedRefusal(409, permanent=True)),
    ScriptedResponse("422", ScriptedRefusal(422, permanent=True)),
    ScriptedResponse("408 then 202", ScriptedRefusal(408)),
    ScriptedResponse("425 then 202", ScriptedRefusal(425)),
    ScriptedResponse("429 seconds then 202", ScriptedRefusal(429, retry_after="seconds")),
    ScriptedResponse("429 date then 202", ScriptedRefusal(429, retry_after="date")),
    ScriptedResponse("500 then 202", ScriptedRefusal(500)),
    ScriptedResponse("502 then 202", ScriptedRefusal(502)),
    ScriptedResponse("503 then 202", ScriptedRefusal(503, retry_after="seconds")),
    ScriptedResponse("504 then 202", ScriptedRefusal(504)),
    ScriptedResponse("507 then 202", ScriptedRefusal(507)),
    ScriptedResponse("523 then 202", ScriptedRefusal(523)),
    ScriptedResponse("500 for ever", ScriptedRefusal(500, permanent=True)),
    ScriptedResponse("dropped then 202", delivery=ResponseDelivery.DROP, callback=CallbackKind.NORMAL),
    ScriptedResponse("hung then 202", delivery=ResponseDelivery.HANG, callback=CallbackKind.NORMAL),
)
"""A dropped or hung response always has callbacks: a client that must not resend learns of its jobs only from them."""


@dataclass(frozen=True, slots=True)
class Fate:
    """The fate of one job.

    Attributes:
        callback: the kind of callback; None if the response itself was final.
        state: the final state.
        first_pause: seconds before the first callback.
        final_pause: seconds before the next or only callback.
    """

    callback: CallbackKind | None
    state: State
    first_pause: float = 0.0
    final_pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """The response to the request with this number, and the callbacks of its jobs."""

    seed: int
    number: int
    response: ScriptedResponse
    callback: CallbackKind

    def decide_fate(self, index: int, code: Code) -> Fate | None:
        """Return the fate of the job of a recipient, by its index and code; None if it has no job."""
        if code is Code.DELIVERED:
            return Fate(None, State.DELIVERED)
        if code is not Code.ACCEPTED:
            return None
        random = Random(f"{self.seed}/{self.number}/{index}")  # noqa: S311 - must be repeatable
        failing = random.random() < FAILING_SHARE and self.callback is not CallbackKind.CONTRADICTING
        state = random.choice((State.UNDELIVERED, State.EXPIRED)) if failing else State.DELIVERED
        final_pause = LATE_PAUSE_S if self.callback is CallbackKind.LATE else SHORT_PAUSE_S
        return Fate(self.callback, state, random.uniform(*SHORT_PAUSE_S), random.uniform(*final_pause))


@dataclass(frozen=True, slots=True)
class _Order:
    """The order of responses and callbacks for a seed.

    Attributes:
        responses: the response at each position of the cycle.
        free_before: how many responses before each position call back with a kind from the cycle of callbacks.
        callbacks: the cycle of callbacks.
    """

    responses: tuple[ScriptedResponse, ...]
    free_before: tuple[int, ...]
    callbacks: tuple[CallbackKind, ...]


@cache
def _build_order(seed: int) -> _Order:
    random = Random(seed)  # noqa: S311 - must be repeatable
    responses = [*SPECIAL_RESPONSES, *[PLAIN_RESPONSE] * (CYCLE_LENGTH - len(SPECIAL_RESPONSES))]
    callbacks = list(CallbackKind)
    random.shuffle(responses)
    random.shuffle(callbacks)
    free = (response.has_callbacks and not response.callback for response in responses)
    return _Order(tuple(responses), tuple(accumulate(free, initial=0)), tuple(callbacks))


def build_script(seed: int, number: int) -> Script:
    """Return the script of the request with this number (0 or more)."""
    order = _build_order(seed)
    cycle_number, position = divmod(number, CYCLE_LENGTH)
    response = order.responses[position]
    if response is PAUSING_RESPONSE and cycle_number > 1:
        response = PLAIN_RESPONSE
    nth_free = cycle_number * order.free_before[-1] + order.free_before[position]
    return Script(seed, number, response, response.callback or order.callbacks[nth_free % len(order.callbacks)])


def parse_number(client_reference: str) -> int:
    """Return the number at the end of a client's reference, 17 for `demo-0017`; without one, a checksum of the text."""
    digits = re.search(r"[0-9]{1,18}$", client_reference)
    return int(digits[0]) if digits else crc32(client_reference.encode())
