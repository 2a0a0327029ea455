"""Examples for the OpenAPI document: a call of each operation, with what is configured as far as it occurs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.providers.base import Provider
from receiver.providers.webhook import EVENT

REQUEST_ID = "0197e6a5-7f0c-7c3e-9d43-5b8f3a1c2d4e"
JOB_ID = "5f0c8f4c-5d0e-5a39-8a6f-0c1d3c3b9a77"
CALLBACK_ID = "9b2e7d10-4c55-8f1e-b1c7-6f2a9d0e4b38"
KEY_ID = "0197e6a5-8a11-7d20-b6e2-1f4c7a9d3e55"
_NOON = "2026-11-23T12:00:{:02d}+00:00"
_DEADLINE = "2026-11-26T12:00:00+00:00"
_WHY = "the provider told us on the telephone"
_REASON = {"with a reason": {"reason": _WHY}}
_SAMPLES: Mapping[str, Any] = {"boolean": True, "integer": 1, "number": 1, "string": "text", "null": None}


@dataclass(frozen=True, slots=True)
class Example:
    """A call: its answer, the bodies by what each shows, the parts of its path, and its query."""

    response: Any
    bodies: Mapping[str, Any] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


def build_examples(providers: Mapping[str, Provider]) -> Mapping[str, Example]:
    """Give a call of each operation, by the operation's name."""
    submissions = _submissions(providers)
    first = next(iter(submissions.values()))
    name = str(first["provider"])
    return {
        **_of_requests(submissions, name),
        **_of_jobs(name),
        **_of_callbacks(name),
        **_of_providers(name, str(first["operation"])),
        **_of_keys(),
    }


def build_notification_example(providers: Mapping[str, Provider]) -> Mapping[str, Any]:
    """Give what a client is told."""
    shown = build_examples(providers)["show_request"].response
    ended = [{**job, "status": "succeeded", "finished_at": _NOON.format(9)} for job in shown["jobs"]]
    data = {name: value for name, value in shown.items() if name != "payload"}
    data |= {"notify_url": "https://shop.example/told", "jobs": ended, "jobs_total": 1}
    return {"type": EVENT, "timestamp": _NOON.format(9), "data": data}


def build_example(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """Give a value that a schema takes, as far as it tells: from its own examples, or else the least there is."""
    if "$ref" in schema:
        return build_example(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for keyword in ("examples", "enum"):
        if schema.get(keyword):
            return schema[keyword][0]
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else "string" if "string" in kinds else kinds[0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: build_example(properties.get(name, {}), definitions) for name in schema.get("required", ())}
    return [build_example(schema.get("items", {}), definitions)] if kind == "array" else _SAMPLES[kind]


def _submissions(providers: Mapping[str, Provider]) -> Mapping[str, Mapping[str, Any]]:
    """Give a submission for each operation that is configured."""
    given: dict[str, Mapping[str, Any]] = {}
    for name, provider in sorted(providers.items()):
        for operation in provider.operations():
            schema = provider.payload_schema(operation)
            payload = build_example(schema, schema.get("$defs", {}))
            given[f"{operation} of {name}"] = _submission(name, operation, payload)
    return given or {"none is configured": _submission("acme", "render", {"template": "welcome"})}


def _submission(provider: str, operation: str, payload: Any) -> Mapping[str, Any]:
    return {"provider": provider, "operation": operation, "payload": payload, "metadata": {"order": 7}}


def _of_requests(submissions: Mapping[str, Mapping[str, Any]], provider: str) -> Mapping[str, Example]:
    first = next(iter(submissions.values()))
    queued = {
        "id": REQUEST_ID,
        **first,
        "status": "queued",
        "detail": None,
        "created_at": _NOON.format(0),
        "due_at": _NOON.format(0),
        "deadline_at": _DEADLINE,
        "finished_at": None,
        "notify_url": None,
    }
    detail = {**queued, "attempts": [], "jobs": [], "actions": []}
    attempt = {
        "number": 1,
        "started_at": _NOON.format(1),
        "finished_at": _NOON.format(2),
        "response_status": 202,
        "error": None,
    }
    taken = {**detail, "status": "accepted", "due_at": None, "attempts": [attempt], "jobs": [_job(provider)]}
    ended = {**detail, "status": "cancelled", "due_at": None, "finished_at": _NOON.format(8)}
    at = {"request_id": REQUEST_ID}
    resolutions = {
        "they took it": {"status": "accepted", "references": ["job-1"], "reason": _WHY},
        "they refused it": {"status": "rejected", "reason": _WHY},
    }
    return {
        "submit_request": Example(detail, submissions),
        "submit_batch": Example(_list(queued), {"of one": {"requests": [first]}}),
        "browse_requests": Example(_list(queued), query={"status": "queued", "metadata.order": "7"}),
        "show_request": Example(taken, path=at),
        "retry_request": Example({**detail, "actions": [_action("retry")]}, _REASON, at),
        "cancel_request": Example({**ended, "actions": [_action("cancel")]}, _REASON, at),
        "resolve_request": Example({**taken, "actions": [_action("resolve")]}, resolutions, at),
    }


def _of_jobs(provider: str) -> Mapping[str, Example]:
    job = _job(provider)
    final = {**job, "status": "succeeded", "finished_at": _NOON.format(9)}
    accepted = _event("response", "accepted", 2)
    told = [accepted, _event("callback", "succeeded", 9) | {"provider_status": "DONE", "callback_id": CALLBACK_ID}]
    asked = [
        accepted,
        _event("operator", None, 8) | {"detail": "poll requested", "actor": "operations", "effect": None},
    ]
    resolved = [accepted, _event("operator", "succeeded", 9) | {"detail": _WHY, "actor": "operations"}]
    at = {"job_id": JOB_ID}
    return {
        "browse_jobs": Example(_list(final), query={"status": "succeeded", "accepted_from": "2026-11-23T00:00:00Z"}),
        "show_job": Example({**final, "events": told}, path=at),
        "poll_job": Example({**job, "events": asked}, _REASON, at),
        "resolve_job": Example(
            {**final, "events": resolved}, {"it succeeded": {"status": "succeeded", "reason": _WHY}}, at
        ),
    }


def _of_callbacks(provider: str) -> Mapping[str, Example]:
    summary = {
        "id": CALLBACK_ID,
        "provider": provider,
        "received_at": _NOON.format(9),
        "verdict": "refused",
        "method": "POST",
        "errors": {"timestamp": ["it is 400 seconds old"]},
    }
    whole = {
        **summary,
        "target": f"/callbacks/{provider}",
        "headers": {"content-type": "application/json", "webhook-id": "msg_1"},
        "body": '{"results": []}',
        "explanation": {"part": "timestamp", "message": "it is 400 seconds old", "causes": ["the clocks differ"]},
        "jobs": [],
        "actions": [],
    }
    replayed = {
        **whole,
        "verdict": "accepted",
        "errors": None,
        "explanation": {"part": None, "message": None, "causes": ["The callback was accepted."]},
        "jobs": [JOB_ID],
        "actions": [_action("replay")],
    }
    at = {"callback_id": CALLBACK_ID}
    return {
        "browse_callbacks": Example(_list(summary), query={"verdict": "refused"}),
        "show_callback": Example(whole, path=at),
        "replay_callback": Example(replayed, _REASON, at),
    }


def _of_providers(name: str, operation: str) -> Mapping[str, Example]:
    attention = {"unmatched": 1, "unmapped": 0, "invalid": 0, "disputed": 0, "unresolved": 2, "unknown": 1}
    provider = {
        "name": name,
        "operations": [operation],
        "paused": False,
        "paused_at": None,
        "pause_reason": None,
        "pause_cause": None,
        "callback_url": f"https://receiver.example/callbacks/{name}",
        "max_concurrency": 16,
        "max_per_second": None,
        "circuit": "closed",
        "held_until": None,
        "per_second": None,
        "last_callback_at": _NOON.format(9),
        "missing_callback_rate": 0.0125,
        "attention": attention,
        "secrets": [{"fingerprint": "a1b2c3d4", "last_used_at": _NOON.format(9)}],
    }
    paused = {
        "paused": True,
        "paused_at": _NOON.format(8),
        "pause_reason": f"paused by operations: {_WHY}",
        "pause_cause": "operator",
    }
    counts: dict[str, Any] = {
        "requests": {"accepted": 97, "queued": 2, "unknown": 1},
        "jobs": {"succeeded": 90, "accepted": 6, "unresolved": 2},
        "disputed": 0,
        "unmatched": 1,
        "attention": attention,
    }
    of_one = {
        "name": name,
        **counts,
        "seconds_to_final": {"p50": 7.5, "p95": 30.1, "p99": 61.8, "jobs": 90},
        "oldest_open_job": {"id": JOB_ID, "reference": "ref-1", "accepted_at": _NOON.format(2)},
    }
    at = {"name": name}
    return {
        "browse_providers": Example(_list(provider)),
        "pause_provider": Example(provider | paused, _REASON, at),
        "resume_provider": Example(provider, _REASON, at),
        "show_stats": Example({**counts, "providers": [of_one]}, query={"provider": name}),
    }


def _of_keys() -> Mapping[str, Example]:
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
    wanted = {"for a shop": {"name": "shop", "scopes": ["submit", "read"], "per_minute": 600}}
    return {
        "browse_keys": Example(_list(key)),
        "make_key": Example({**key, "key": "rcv_4fXk2bTq9wZr7nLc1mVs8pYd3hGj6aEu0iOx5tRqWkM"}, wanted),
        "end_key": Example({**key, "revoked_at": _NOON.format(8)}, _REASON, {"key_id": KEY_ID}),
    }


def _list(*items: Any) -> Mapping[str, Any]:
    return {"items": list(items), "next_cursor": None}


def _job(provider: str) -> dict[str, Any]:
    return {
        "id": JOB_ID,
        "provider": provider,
        "reference": "ref-1",
        "request_id": REQUEST_ID,
        "status": "accepted",
        "disputed": False,
        "unmatched": False,
        "accepted_at": _NOON.format(2),
        "finished_at": None,
        "deadline_at": _DEADLINE,
    }


def _event(source: str, status: str | None, second: int) -> dict[str, Any]:
    named: Sequence[str] = ("provider_status", "code", "detail", "occurred_at", "callback_id", "actor")
    return {
        "source": source,
        "status": status,
        "effect": "applied",
        "received_at": _NOON.format(second),
        **dict.fromkeys(named),
    }


def _action(action: str) -> Mapping[str, Any]:
    return {"at": _NOON.format(8), "actor": "operations", "action": action, "reason": _WHY}
