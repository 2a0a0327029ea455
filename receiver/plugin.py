"""The public interface for provider kinds that other packages bring by an entry point.

A package registers a kind by an entry point of the group `receiver.providers`, which names a `ProviderKind`:

    [project.entry-points."receiver.providers"]
    pigeon = "pigeon:KIND"

The names in `__all__` are stable: within a major version none is removed or renamed, methods and fields keep their
meaning, and new parameters and fields have defaults. Every other module of `receiver` is internal and may change in any
release. `Provider` documents what its methods do; the guide `receiver/providers/README.md` has an example.
"""

from receiver.domain.backoff import RetryPolicy
from receiver.domain.callbacks import Ack, IncomingCallback
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
    RetryDecider,
    RetryRules,
)
from receiver.domain.unknown_requests import LookupPolicy, NotFoundMeaning, UnknownRequest
from receiver.providers.base import (
    CallbackSettings,
    LookupImpossible,
    MalformedCallback,
    OutgoingRequest,
    ParsedReports,
    PollPolicy,
    Provider,
    SendPolicy,
    parse_items,
)
from receiver.providers.declared.provider import DeclaredProvider, build_callback_settings, compile_tables
from receiver.providers.registry import ProviderKind
from receiver.schemas.declared import DeclaredSettingsSchema
from receiver.schemas.settings import ProviderSettingsSchema
from receiver.signatures.base import CallbackAuth, InvalidSignature, Trust

__all__ = [
    "Ack",
    "Attempt",
    "CallbackAuth",
    "CallbackSettings",
    "CircuitPolicy",
    "Decision",
    "DeclaredProvider",
    "DeclaredSettingsSchema",
    "IncomingCallback",
    "InvalidSignature",
    "ItemStatus",
    "JobStatus",
    "LookupImpossible",
    "LookupPolicy",
    "MalformedCallback",
    "NoResponse",
    "NotFoundMeaning",
    "NotSent",
    "OnAmbiguous",
    "OutgoingRequest",
    "ParsedReports",
    "ParsedResponse",
    "PollPolicy",
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
    "StatusReport",
    "Trust",
    "UnknownRequest",
    "build_callback_settings",
    "compile_tables",
    "parse_items",
]
