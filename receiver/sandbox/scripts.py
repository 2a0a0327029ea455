"""Scripts: what the sandbox does with a request, decided by nothing but the seed and the request's number.

`SPECIAL_RESPONSES` is the table of answers, `CallbackKind` the list of callbacks. Every 60 requests in a row meet each
answer once and a plain 202 otherwise, in an order that the seed shuffles; those whose jobs call back meet each kind of
callback in turn. Pure: no clock, no I/O.
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
SHORT_PAUSE = (0.05, 0.4)
LATE_PAUSE = (4.0, 5.0)


class Code(IntEnum):
    """What the answer says about one recipient; only accepted and delivered ones get a reference."""

    DELIVERED = 1800
    ACCEPTED = 1801
    NO_BALANCE = 1804
    INVALID_RECIPIENT = 1806
    BUSY = 1899
    UNHEARD_OF = 7777


REFUSED_CODES = frozenset({Code.NO_BALANCE, Code.INVALID_RECIPIENT})


class State(StrEnum):
    """What callbacks and polls say of one job; the first two are in progress, the others final."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    UNDELIVERED = "UNDELIVERED"
    EXPIRED = "EXPIRED"


class CallbackKind(StrEnum):
    """How the callbacks of a job misbehave; `receiver.sandbox.callbacks` has a plan for each that calls back."""

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
    """What the client sees of the answer to a request that was just taken."""

    ANSWER = auto()
    DROP = auto()
    HANG = auto()


@dataclass(frozen=True, slots=True)
class ScriptedRefusal:
    """An answer that leaves the request undone: its HTTP status, whether with `Retry-After` and in which form."""

    status: int
    for_good: bool = False
    retry_after: Literal["seconds", "date"] | None = None


@dataclass(frozen=True, slots=True)
class ScriptedResponse:
    """One row of the answer table.

    Attributes:
        kind: the row's name in the ledger.
        refusal: what the first attempt gets, or every attempt if it is for good; None takes the request at once.
        status: HTTP status of the answer to a request that is taken.
        codes: what its recipients are told, in turn; none for an answer without a body.
        recipients: how many recipients show the whole row.
        hints: whether the answer carries `Location` and `Retry-After`.
        conduct: what the client sees of the answer.
        callback: the kind of callback that the row insists on.
    """

    kind: str
    refusal: ScriptedRefusal | None = None
    status: int = 202
    codes: tuple[Code, ...] = (Code.ACCEPTED,)
    recipients: int = 1
    hints: bool = False
    conduct: ResponseDelivery = ResponseDelivery.ANSWER
    callback: CallbackKind | None = None

    @property
    def calls_back(self) -> bool:
        """Whether a request answered so opens a job that is not finished at once."""
        return Code.ACCEPTED in self.codes and not (self.refusal and self.refusal.for_good)

    def refusal_of(self, attempt: int) -> ScriptedRefusal | None:
        """Give the refusal that this attempt (the first is 1) gets, if any."""
        return self.refusal if self.refusal and (attempt == 1 or self.refusal.for_good) else None

    def codes_for(self, recipients: int) -> tuple[Code, ...]:
        """Give one code for each of so many recipients; none where the answer has no items."""
        return tuple(islice(cycle(self.codes), recipients))

    def expected_status(self, recipients: int, resendable: bool) -> str:
        """Give the status that the request must end with.

        Args:
            recipients: how many recipients it has.
            resendable: whether the client can safely resend what got no answer, having sent an idempotency key.
        """
        gateway_timeout = self.refusal is not None and self.refusal.status == 504
        if not resendable and (gateway_timeout or self.conduct is not ResponseDelivery.ANSWER):
            return "unknown"
        if self.refusal and self.refusal.for_good:
            return "failed" if self.refusal.status >= 500 else "rejected"
        return _status_by_codes(set(self.codes_for(recipients)))


def _status_by_codes(codes: set[Code]) -> str:
    if Code.ACCEPTED in codes:
        return "accepted"
    if Code.UNHEARD_OF in codes:
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
    ScriptedResponse("200 unknown code", status=200, codes=(Code.UNHEARD_OF,)),
    ScriptedResponse("200 busy then 202", ScriptedRefusal(200)),
    ScriptedResponse("201", status=201),
    ScriptedResponse("202 with hints", hints=True),
    ScriptedResponse("202 broadcast", recipients=5, callback=CallbackKind.BULK),
    ScriptedResponse("204", status=204, codes=()),
    ScriptedResponse("400", ScriptedRefusal(400, for_good=True)),
    PAUSING_RESPONSE,
    ScriptedResponse("403", ScriptedRefusal(403, for_good=True)),
    ScriptedResponse("404", ScriptedRefusal(404, for_good=True)),
    ScriptedResponse("405", ScriptedRefusal(405, for_good=True)),
    ScriptedResponse("409", ScriptedRefusal(409, for_good=True)),
    ScriptedResponse("422", ScriptedRefusal(422, for_good=True)),
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
    ScriptedResponse("500 for ever", ScriptedRefusal(500, for_good=True)),
    ScriptedResponse("dropped then 202", conduct=ResponseDelivery.DROP, callback=CallbackKind.NORMAL),
    ScriptedResponse("hung then 202", conduct=ResponseDelivery.HANG, callback=CallbackKind.NORMAL),
)
"""A dropped or hung answer calls back for certain: a client that may not resend learns of its jobs in no other way."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one job.

    Attributes:
        callback: how it calls back; None if it was finished in the answer itself.
        state: its final state.
        first_pause: seconds before its first callback.
        final_pause: seconds before its next or only one.
    """

    callback: CallbackKind | None
    state: State
    first_pause: float = 0.0
    final_pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """What happens to the request with this number: its row of answers and how its jobs call back."""

    seed: int
    number: int
    response: ScriptedResponse
    callback: CallbackKind

    def fate(self, place: int, code: Code) -> Fate | None:
        """Give the fate of the job of the recipient at this place, who was told `code`; None where there is no job."""
        if code is Code.DELIVERED:
            return Fate(None, State.DELIVERED)
        if code is not Code.ACCEPTED:
            return None
        random = Random(f"{self.seed}/{self.number}/{place}")  # noqa: S311 - must be repeatable
        failing = random.random() < FAILING_SHARE and self.callback is not CallbackKind.CONTRADICTING
        state = random.choice((State.UNDELIVERED, State.EXPIRED)) if failing else State.DELIVERED
        final_pause = LATE_PAUSE if self.callback is CallbackKind.LATE else SHORT_PAUSE
        return Fate(self.callback, state, random.uniform(*SHORT_PAUSE), random.uniform(*final_pause))


@dataclass(frozen=True, slots=True)
class _Order:
    """One seed's order: an answer for each place in the cycle, and how many before it have free callbacks."""

    responses: tuple[ScriptedResponse, ...]
    free_before: tuple[int, ...]
    callbacks: tuple[CallbackKind, ...]


@cache
def _order(seed: int) -> _Order:
    random = Random(seed)  # noqa: S311 - must be repeatable
    responses = [*SPECIAL_RESPONSES, *[PLAIN_RESPONSE] * (CYCLE_LENGTH - len(SPECIAL_RESPONSES))]
    callbacks = list(CallbackKind)
    random.shuffle(responses)
    random.shuffle(callbacks)
    free = (response.calls_back and not response.callback for response in responses)
    return _Order(tuple(responses), tuple(accumulate(free, initial=0)), tuple(callbacks))


def build_script(seed: int, number: int) -> Script:
    """Give the script of the request with this number (0 or more)."""
    order = _order(seed)
    permit, place = divmod(number, CYCLE_LENGTH)
    response = order.responses[place]
    if response is PAUSING_RESPONSE and permit > 1:
        response = PLAIN_RESPONSE
    nth_free = permit * order.free_before[-1] + order.free_before[place]
    return Script(seed, number, response, response.callback or order.callbacks[nth_free % len(order.callbacks)])


def parse_number(client_reference: str) -> int:
    """Give the number at the end of a client's reference, 17 of `demo-0017`; without one, a number made of its text."""
    digits = re.search(r"[0-9]{1,18}$", client_reference)
    return int(digits[0]) if digits else crc32(client_reference.encode())
