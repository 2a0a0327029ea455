"""Examples for the OpenAPI document: a call of each operation, with configured providers where they occur."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.domain.notifications import NotificationType
from receiver.providers.base import Provider
from receiver.web.openapi.submissions import list_submittable_operations

REQUEST_ID = "0197e6a5-7f0c-7c3e-9d43-5b8f3a1c2d4e"
JOB_ID = "5f0c8f4c-5d0e-5a39-8a6f-0c1d3c3b9a77"
NOTIFICATION_ID = "0197e6a5-9b22-7e31-a7f3-2a5d8b1e4f66"
CALLBACK_ID = "9b2e7d10-4c55-8f1e-b1c7-6f2a9d0e4b38"
BULK_ACTION_ID = "0197e6a5-90c2-7b31-8f4e-2a6d0c9b7e18"
KEY_ID = "0197e6a5-8a11-7d20-b6e2-1f4c7a9d3e55"
_NOON = "2026-11-23T12:00:{:02d}+00:00"
_DEADLINE = "2026-11-26T12:00:00+00:00"
_REASON = "confirmed by the provider on the phone"
_REASON_BODY = {"with a reason": {"reason": _REASON}}
_SAMPLES: Mapping[str, Any] = {"boolean": True, "integer": 1, "number": 1, "string": "text", "null": None}


@dataclass(frozen=True, slots=True)
class Example:
    """A call: its response, its possible bodies by name, and the parameters of its path and query."""

    response: Any
    bodies: Mapping[str, Any] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


def build_examples(providers: Mapping[str, Provider]) -> Mapping[str, Example]:
    """Build an example of each operation, by the operation's name."""
    submissions = _build_submissions(providers)
    first = next(iter(submissions.values()))
    name = str(first["provider"])
    return {
        **_build_request_examples(submissions, name),
        **_build_job_examples(name),
        **_build_callback_examples(name),
        **_build_provider_examples(name, str(first["operation"])),
        **_build_notification_examples(name),
        **_build_key_examples(),
        **_build_tail_examples(name),
    }


def build_notification_example(providers: Mapping[str, Provider]) -> Mapping[str, Any]:
    """Build an example of a webhook notification."""
    request = build_examples(providers)["show_request"].response
    jobs = [{**job, "status": "succeeded", "finished_at": _NOON.format(9)} for job in request["jobs"]]
    data = {name: value for name, value in request.items() if name not in {"payload", "erased_at"}}
    data |= {
        "notify_url": "https://shop.example/notifications",
        "notify_events": ["request"],
        "jobs": jobs,
        "jobs_total": 1,
    }
    return {"type": NotificationType.REQUEST_FINISHED, "timestamp": _NOON.format(9), "data": data}


def build_jobs_notification_example(
    providers: Mapping[str, Provider], notification_type: NotificationType
) -> Mapping[str, Any]:
    """Build an example of a webhook notification about jobs."""
    request = build_notification_example(providers)["data"]
    data = {name: request[name] for name in ("provider", "account", "operation", "metadata", "jobs")}
    return {
        "type": notification_type,
        "timestamp": _NOON.format(9),
        "data": {"request_id": request["id"], **data},
    }


def build_example(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """Build a value for a schema: the first of its examples, or else the smallest value of its type."""
    if "$ref" in schema:
        return build_example(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for keyword in ("examples", "enum"):
        if schema.get(keyword):
            return schema[keyword][0]
    types = schema.get("type", "string")
    type_name = types if isinstance(types, str) else "string" if "string" in types else types[0]
    if type_name == "object":
        properties = schema.get("properties", {})
        return {name: build_example(properties.get(name, {}), definitions) for name in schema.get("required", ())}
    return [build_example(schema.get("items", {}), definitions)] if type_name == "array" else _SAMPLES[type_name]


def _build_submissions(providers: Mapping[str, Provider]) -> Mapping[str, Mapping[str, Any]]:
    """Build a submission for each configured operation."""
    submissions: dict[str, Mapping[str, Any]] = {}
    for item in list_submittable_operations(providers):
        schema = item.operation.build_payload_schema()
        payload = build_example(schema, schema.get("$defs", {}))
        account = {"account": item.accounts[0]} if item.requires_account else {}
        submissions[f"{item.name} of {item.provider}"] = {
            **_build_submission(item.provider, item.name, payload),
            **account,
        }
    return submissions or {"no provider is configured": _build_submission("acme", "render", {"template": "welcome"})}


def _build_submission(provider: str, operation: str, payload: Any) -> Mapping[str, Any]:
    return {"provider": provider, "operation": operation, "payload": payload, "metadata": {"order": 7}}


def _build_request_examples(submissions: Mapping[str, Mapping[str, Any]], provider: str) -> Mapping[str, Example]:
    first = next(iter(submissions.values()))
    queued = {
        "id": REQUEST_ID,
        "account": None,
        **first,
        "status": "queued",
        "detail": None,
        "created_at": _NOON.format(0),
        "due_at": _NOON.format(0),
        "deadline_at": _DEADLINE,
        "finished_at": None,
        "notify_url": None,
        "erased_at": None,
        "notify_events": None,
        "priority": 5,
        "reference_conflict": False,
    }
    detail = {**queued, "attempts": [], "jobs": [], "actions": []}
    attempt = {
        "number": 1,
        "started_at": _NOON.format(1),
        "finished_at": _NOON.format(2),
        "response_status": 202,
        "error": None,
        "response_headers": {"content-type": "application/json"},
        "response_body": '{"id":"job-1"}',
        "response_truncated": False,
    }
    accepted = {**detail, "status": "accepted", "due_at": None, "attempts": [attempt], "jobs": [_build_job(provider)]}
    cancelled = {**detail, "status": "cancelled", "due_at": None, "finished_at": _NOON.format(8)}
    path = {"request_id": REQUEST_ID}
    resolutions = {
        "the provider accepted it": {"status": "accepted", "references": ["job-1"], "reason": _REASON},
        "the provider refused it": {"status": "rejected", "reason": _REASON},
    }
    bulk_filter = {"status": "queued", "provider": provider, "metadata": {"campaign": "spring"}}
    bulk_action = {"action": "cancel", "filter": bulk_filter, "reason": "sent by mistake"}
    bulk_bodies = {
        "a preview": {**bulk_action, "dry_run": True},
        "what the preview shows is cancelled": {**bulk_action, "token": BULK_ACTION_ID},
        "unknown requests are resolved": {
            "action": "resolve",
            "filter": {"provider": provider, "created_to": _NOON.format(0)},
            "status": "rejected",
            "reason": _REASON,
            "dry_run": True,
        },
    }
    progress = {
        "action": "cancel",
        "token": BULK_ACTION_ID,
        "expires_at": "2026-11-23T13:00:00+00:00",
        "count": 1,
        "applied": 0,
        "skipped": 0,
        "remaining": 1,
        "sample": [queued],
    }
    return {
        "submit_request": Example(detail, submissions),
        "submit_batch": Example(_build_list(queued), {"with one request": {"requests": [first]}}),
        "browse_requests": Example(_build_list(queued), query={"status": "queued", "metadata.order": "7"}),
        "show_request": Example(accepted, path=path),
        "retry_request": Example({**detail, "actions": [_build_action("retry")]}, _REASON_BODY, path),
        "cancel_request": Example({**cancelled, "actions": [_build_action("cancel")]}, _REASON_BODY, path),
        "act_on_requests": Example(progress, bulk_bodies),
        "send_request_now": Example({**detail, "actions": [_build_action("send-now")]}, _REASON_BODY, path),
        "resolve_request": Example({**accepted, "actions": [_build_action("resolve")]}, resolutions, path),
    }


def _build_job_examples(provider: str) -> Mapping[str, Example]:
    job = _build_job(provider)
    final = {**job, "status": "succeeded", "finished_at": _NOON.format(9)}
    accepted = _build_event("response", "accepted", 2)
    events = [
        accepted,
        _build_event("callback", "succeeded", 9) | {"provider_status": "DONE", "callback_id": CALLBACK_ID},
    ]
    polled = [
        accepted,
        _build_event("operator", None, 8) | {"detail": "poll requested", "actor": "operations", "effect": None},
    ]
    resolved = [accepted, _build_event("operator", "succeeded", 9) | {"detail": _REASON, "actor": "operations"}]
    path = {"job_id": JOB_ID}
    return {
        "browse_jobs": Example(
            _build_list(final), query={"status": "succeeded", "accepted_from": "2026-11-23T00:00:00Z"}
        ),
        "show_job": Example(_build_job_detail(final, events, 1), path=path),
        "browse_job_events": Example(_build_list(*reversed(events)), path=path),
        "poll_job": Example(_build_job_detail(job, polled, 0), _REASON_BODY, path),
        "resolve_job": Example(
            _build_job_detail(final, resolved, 1),
            {"it succeeded": {"status": "succeeded", "reason": _REASON}},
            path,
        ),
        "track_job": Example(
            _build_job_detail(job, [accepted | {"actor": "shop"}], 0),
            {
                "a job": {
                    "provider": provider,
                    "reference": "ref-1",
                    "metadata": {"order": 7},
                    "deadline": "2026-11-26T12:00:00Z",
                }
            },
        ),
    }


def _build_callback_examples(provider: str) -> Mapping[str, Example]:
    summary: dict[str, Any] = {
        "id": CALLBACK_ID,
        "provider": provider,
        "account": None,
        "received_at": _NOON.format(9),
        "verdict": "refused",
        "method": "POST",
        "errors": {"timestamp": ["400 seconds old"]},
    }
    detail: dict[str, Any] = {
        **summary,
        "target": f"/callbacks/{provider}",
        "caller_address": "203.0.113.7",
        "erased_at": None,
        "headers": {"content-type": "application/json", "webhook-id": "msg_1"},
        "body": '{"results": []}',
        "secret_fingerprint": None,
        "explanation": {"part": "timestamp", "message": "400 seconds old", "causes": ["the clocks differ"]},
        "deliveries": [{"id": CALLBACK_ID, "received_at": _NOON.format(9), "verdict": "refused"}],
        "jobs": [],
        "actions": [],
    }
    replayed = {
        **detail,
        "verdict": "accepted",
        "errors": None,
        "secret_fingerprint": "a1b2c3d4",
        "explanation": {"part": None, "message": None, "causes": ["The callback was accepted."]},
        "deliveries": [{**detail["deliveries"][0], "verdict": "accepted"}],
        "jobs": [JOB_ID],
        "actions": [_build_action("replay")],
    }
    event = {
        "position": 0,
        "job_id": JOB_ID,
        "reference": "ref-1",
        "status": "succeeded",
        "provider_status": "DONE",
        "code": None,
        "detail": None,
        "occurred_at": _NOON.format(8),
        "received_at": _NOON.format(9),
        "callback_id": CALLBACK_ID,
    }
    path = {"callback_id": CALLBACK_ID}
    return {
        "browse_callbacks": Example(_build_list(summary), query={"verdict": "refused"}),
        "show_callback": Example(detail, path=path),
        "browse_callback_events": Example(_build_list(event), path=path),
        "replay_callback": Example(replayed, _REASON_BODY, path),
    }


def _build_provider_examples(name: str, operation: str) -> Mapping[str, Example]:
    attention = {
        "unmatched": 1,
        "unmapped": 0,
        "invalid": 0,
        "disputed": 0,
        "unresolved": 2,
        "unknown": 1,
        "reference_conflict": 0,
        "unconfigured": 0,
        "refused": 4,
    }
    provider = {
        "name": name,
        "account": None,
        "configured": True,
        "operations": [operation],
        "paused": False,
        "paused_at": None,
        "pause_reason": None,
        "pause_cause": None,
        "callback_url": f"https://receiver.example/callbacks/{name}",
        "trust": "signature",
        "proof": "The signature covers everything that decides about a job.",
        "max_concurrency": 16,
        "max_per_second": None,
        "circuit": "closed",
        "held_until": None,
        "per_second": None,
        "last_callback_at": _NOON.format(9),
        "missing_callback_rate": 0.0125,
        "attention": attention,
        "refusals": [{"reason": "signature", "caller_address": "203.0.113.7", "count": 4, "last_at": _NOON.format(9)}],
        "secrets": [{"fingerprint": "a1b2c3d4", "last_used_at": _NOON.format(9)}],
    }
    paused = {
        "paused": True,
        "paused_at": _NOON.format(8),
        "pause_reason": f"paused by operations: {_REASON}",
        "pause_cause": "operator",
    }
    counts: dict[str, Any] = {
        "requests": {"accepted": 97, "queued": 2, "unknown": 1},
        "jobs": {"succeeded": 90, "accepted": 6, "unresolved": 2},
        "disputed": 0,
        "unmatched": 1,
        "attention": attention,
    }
    provider_stats = {
        "name": name,
        "account": None,
        "configured": True,
        **counts,
        "seconds_to_final": {"p50": 7.5, "p95": 30.1, "p99": 61.8, "jobs": 90},
        "oldest_open_job": {"id": JOB_ID, "reference": "ref-1", "accepted_at": _NOON.format(2)},
    }
    path = {"name": name}
    return {
        "browse_providers": Example(_build_list(provider)),
        "pause_provider": Example(provider | paused, _REASON_BODY, path),
        "resume_provider": Example(provider, _REASON_BODY, path),
        "show_stats": Example(
            {**counts, "notifications": None, "providers": [provider_stats]}, query={"provider": name}
        ),
    }


def _build_notification_examples(provider: str) -> Mapping[str, Example]:
    attempt = {
        "number": 1,
        "started_at": _NOON.format(10),
        "finished_at": _NOON.format(11),
        "response_status": 503,
        "error": None,
    }
    queued = {
        "id": NOTIFICATION_ID,
        "type": NotificationType.REQUEST_FINISHED,
        "url": "https://shop.example/notifications",
        "request_id": REQUEST_ID,
        "provider": provider,
        "account": None,
        "job_ids": [JOB_ID],
        "status": "queued",
        "detail": "503: the client did not accept the notification with a 2xx status.",
        "created_at": _NOON.format(9),
        "next_attempt_at": _NOON.format(14),
        "finished_at": None,
        "attempt_count": 1,
        "last_attempt_at": _NOON.format(10),
        "response_status": 503,
        "error": None,
    }
    state = {"paused": False, "paused_at": None, "pause_reason": None}
    paused = {"paused": True, "paused_at": _NOON.format(8), "pause_reason": f"paused by operations: {_REASON}"}
    detail = {**queued, "body": {"type": NotificationType.REQUEST_FINISHED}, "attempts": [attempt], "actions": []}
    resent = {**detail, "detail": None, "next_attempt_at": _NOON.format(12), "actions": [_build_action("resend")]}
    path = {"notification_id": NOTIFICATION_ID}
    return {
        "browse_notifications": Example({**_build_list(queued), **state}, query={"status": "failed"}),
        "show_notification": Example(detail, path=path),
        "resend_notification": Example(resent, _REASON_BODY, path),
        "pause_notifications": Example(paused, _REASON_BODY),
        "resume_notifications": Example(state, _REASON_BODY),
    }


def _build_key_examples() -> Mapping[str, Example]:
    key = {
        "id": KEY_ID,
        "client": "shop",
        "name": "shop",
        "prefix": "rcv_4fXk2b",
        "scopes": ["submit", "read"],
        "providers": None,
        "per_minute": 600,
        "created_at": _NOON.format(0),
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
    }
    bodies = {"for a shop": {"name": "shop", "scopes": ["submit", "read"], "per_minute": 600}}
    return {
        "browse_keys": Example(_build_list(key)),
        "create_api_key": Example({**key, "key": "rcv_4fXk2bTq9wZr7nLc1mVs8pYd3hGj6aEu0iOx5tRqWkM"}, bodies),
        "revoke_api_key": Example({**key, "revoked_at": _NOON.format(8)}, _REASON_BODY, {"key_id": KEY_ID}),
    }


def _build_tail_examples(name: str) -> Mapping[str, Example]:
    optional = ("callback_id", "operation", "code", "detail", "errors")
    change = {
        "kind": "job",
        "at": _NOON.format(2),
        "provider": name,
        "account": None,
        "id": JOB_ID,
        "request_id": REQUEST_ID,
        "reference": "ref-1",
        "status": "accepted",
        "source": "response",
        "provider_status": "ACK",
        "job_status": "accepted",
        **dict.fromkeys(optional),
    }
    cursor = "64441f93bdd80.384.."
    page = {"items": [change], "cursor": cursor, "has_gap": False}
    return {"follow_changes": Example(page, query={"cursor": cursor, "kind": "job"})}


def _build_list(*items: Any) -> Mapping[str, Any]:
    return {"items": list(items), "next_cursor": None}


def _build_job(provider: str) -> dict[str, Any]:
    return {
        "id": JOB_ID,
        "provider": provider,
        "account": None,
        "reference": "ref-1",
        "request_id": REQUEST_ID,
        "status": "accepted",
        "disputed": False,
        "unmatched": False,
        "accepted_at": _NOON.format(2),
        "finished_at": None,
        "deadline_at": _DEADLINE,
    }


def _build_job_detail(job: Mapping[str, Any], events: Sequence[Mapping[str, Any]], decisive: int) -> Mapping[str, Any]:
    """Build the document of a job whose status is decided by the event with the index `decisive`."""
    event = events[decisive]
    reason = f"{str(event['status']).capitalize()}: see the event of {event['received_at']}."
    explanation = {"reason": reason, "notes": [], "event": event}
    return {**job, "explanation": explanation, "events": events, "events_cursor": None}


def _build_event(source: str, status: str | None, second: int) -> dict[str, Any]:
    optional: Sequence[str] = ("provider_status", "code", "detail", "occurred_at", "callback_id", "actor")
    return {
        "source": source,
        "status": status,
        "superseding": False,
        "effect": "applied",
        "received_at": _NOON.format(second),
        **dict.fromkeys(optional),
    }


def _build_action(action: str) -> Mapping[str, Any]:
    return {"at": _NOON.format(8), "actor": "operations", "action": action, "reason": _REASON}
