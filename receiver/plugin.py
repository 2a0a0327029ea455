"""The public interface for provider kinds that other packages bring by an entry point.

A package registers a kind by an entry point of the group `receiver.providers`, which names a `ProviderKind`:

    [project.entry-points."receiver.providers"]
    pigeon = "pigeon:KIND"

The names in `__all__` are stable: within a major version none is removed or renamed, methods and fields keep their
meaning, and new parameters and fields have defaults. Every other module of `receiver` is internal and may change in any
release. `Sender`, `Callbacks`, `Poller` and `Lookup` document what their methods do; the guide
`docs/providers.md` has an example.
"""

from receiver.domain.backoff import RetryPolicy
from receiver.domain.callbacks import Ack, IncomingCallback
from receiver.domain.decisions import RetryDecider
from receiver.domain.jobs import JobStatus, StatusReport
from receiver.domain.limits import CircuitPolicy
from receiver.domain.sending import (
    Attempt,
    Decision,
    ItemStatus,
    NoResponse,
    NotSent,
    OnAmbiguous,
    ParsedResponse,
    RequestStatus,
    Response,
    ResponseItem,
    RetryRules,
)
from receiver.domain.unknown_requests import LookupPolicy, NotFoundMeaning, UnknownRequest
from receiver.providers.base import Provider, SendPolicy
from receiver.providers.capabilities import (
    AccountCheck,
    Callbacks,
    CallbackSettings,
    Handshake,
    HandshakeResponse,
    Lookup,
    LookupImpossible,
    MalformedCallback,
    Operation,
    OutgoingRequest,
    ParsedItem,
    Poller,
    PollPolicy,
    Sender,
)
from receiver.providers.declared.callbacks import DeclaredCallbacks
from receiver.providers.declared.lookup import DeclaredLookup
from receiver.providers.declared.poller import DeclaredPoller
from receiver.providers.declared.provider import build_declared
from receiver.providers.declared.sender import DeclaredSender
from receiver.providers.registry import ProviderKind
from receiver.schemas.declared import DeclaredSettingsSchema
from receiver.schemas.settings import ProviderSettingsSchema
from receiver.signatures.base import CallbackAuth, InvalidSignature, Trust

__all__ = [
    "AccountCheck",
    "Ack",
    "Attempt",
    "CallbackAuth",
    "CallbackSettings",
    "Callbacks",
    "CircuitPolicy",
    "Decision",
    "DeclaredCallbacks",
    "DeclaredLookup",
    "DeclaredPoller",
    "DeclaredSender",
    "DeclaredSettingsSchema",
    "Handshake",
    "HandshakeResponse",
    "IncomingCallback",
    "InvalidSignature",
    "ItemStatus",
    "JobStatus",
    "Lookup",
    "LookupImpossible",
    "LookupPolicy",
    "MalformedCallback",
    "NoResponse",
    "NotFoundMeaning",
    "NotSent",
    "OnAmbiguous",
    "Operation",
    "OutgoingRequest",
    "ParsedItem",
    "ParsedResponse",
    "PollPolicy",
    "Poller",
    "Provider",
    "ProviderKind",
    "ProviderSettingsSchema",
    "RequestStatus",
    "Response",
    "ResponseItem",
    "RetryDecider",
    "RetryPolicy",
    "RetryRules",
    "SendPolicy",
    "Sender",
    "StatusReport",
    "Trust",
    "UnknownRequest",
    "build_declared",
]
