"""Runs schemathesis against the service with its OpenAPI document, with all its checks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import schemathesis
from schemathesis.core.errors import InvalidSchema
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.engine.run import PhaseName
from schemathesis.hooks import unregister

from tests.support.http import Json, Server
from tests.support.processes import ADMIN_KEY

TIMEOUT_S = 10.0
_KEY = {"Authorization": f"Bearer {ADMIN_KEY}"}
_FUTURE = "8999-12-31T23:59:59Z"
_EXAMPLE_KEY = "order-7"
# The examples must not depend on earlier responses: Hypothesis would silently end the run of an operation.
_INDEPENDENT = {"extra-data-sources": {"responses": False}, "error-feedback": {"enabled": False}}
_FUZZING_ONLY = {"enabled": False, "fuzzing": {**_INDEPENDENT, "enabled": True}}
_MAX_RERUNS = 3
"""schemathesis sometimes reports that it cannot generate examples of a recursive schema, depending on the seed."""


@dataclass(slots=True)
class OperationResult:
    """The results of one operation: the statuses of its responses, and the failed checks."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def succeeded(self) -> int:
        return sum(count for status, count in self.statuses.items() if status < 300)

    def format(self, name: str) -> str:
        """Return a line for people, with the failures below it."""
        statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        line = f"{'FAILED' if self.failures else 'ok':<6}  {name:<45} {self.statuses.total():>9,}  {statuses}"
        return "\n".join([line, *self.failures.values()])


@dataclass(slots=True)
class FuzzResult:
    """The results of a run by operation; `errors` are failures of the fuzzer itself."""

    operations: dict[str, OperationResult]
    errors: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.errors and not any(result.failures for result in self.operations.values())

    def format(self) -> str:
        """Return lines for people."""
        return "\n".join([*(result.format(name) for name, result in sorted(self.operations.items())), *self.errors])


class ApiFuzzer:
    """Makes valid and invalid calls to every operation, `examples` of them in each phase with random examples.

    A `brief` run tests the boundary values of a submission's schema only with single submissions, not with batches, and
    does not wait for jobs.
    """

    def __init__(self, server: Server, document: Json, examples: int, seed: int, *, brief: bool = False) -> None:
        self._document = document
        self._config = _build_config(f"http://{server.host}:{server.port}", examples, seed) | _build_id_dictionaries(
            server
        )
        if brief:
            self._config["parameters"]["header.Prefer"] = "respond-async"
            self._config["operations"] = [
                {"include-path": "/v1/requests/batch", "phases": {"coverage": {"enabled": False}}}
            ]
        self._examples = examples
        self._result = FuzzResult({name: OperationResult() for name in _index_operations(self._document)})
        self._not_generated: dict[str, str] = {}

    def fuzz(self) -> FuzzResult:
        """Make the calls; an operation without random examples is run again with the next seed."""
        with _register_hooks():
            self._execute(self._config, list(self._result.operations))
            for rerun in range(1, _MAX_RERUNS + 1):
                names, self._not_generated = list(self._not_generated), {}
                if names:
                    self._execute(self._config | {"seed": self._config["seed"] + rerun, "phases": _FUZZING_ONLY}, names)
        self._result.errors += self._not_generated.values()
        return self._result

    def _execute(self, config: Json, names: Sequence[str]) -> None:
        api_schema = schemathesis.openapi.from_dict(self._document, config=schemathesis.Config.from_dict(config))
        for event in from_schema(api_schema.include(name=list(names))).execute():
            self._handle_event(event)

    def _handle_event(self, event: events.EngineEvent) -> None:
        errors = self._result.errors
        match event:
            case events.ScenarioFinished():
                self._record_calls(event.recorder)
                self._check_completeness(event)
            case events.NonFatalError(phase=PhaseName.FUZZING, value=InvalidSchema()):
                self._not_generated[event.label] = f"{event.label}: {event.info.format()}"
            case events.NonFatalError():
                errors.append(f"{event.label}: {event.info.format()}")
            case events.FatalError():
                errors.append(f"the run failed: {event.exception!r}")
            case events.EngineFinished():
                errors += [str(failure) for failure in event.failures]

    def _record_calls(self, recorder: ScenarioRecorder) -> None:
        for case_id, node in recorder.cases.items():
            result = self._result.operations[node.value.operation.label]
            interaction = recorder.interactions.get(case_id)
            response = interaction.response if interaction else None
            if response:
                result.statuses[response.status_code] += 1
            for check in recorder.checks.get(case_id, ()):
                if check.failure_info:
                    failure = check.failure_info.failure
                    body = response.text[:500] if response else ""
                    report = f"  {check.name}: {failure}\n  {body}\n  {check.failure_info.code_sample[:2_000]}"
                    result.failures.setdefault(f"{check.name} {failure.title}", report)

    def _check_completeness(self, event: events.ScenarioFinished) -> None:
        """Report a run of an operation that silently ended early because no more examples could be generated."""
        operation = _index_operations(self._document).get(event.label or "", {})
        has_examples = operation.get("parameters") or "requestBody" in operation
        case_count = len(event.recorder.cases)
        if (
            event.phase is PhaseName.FUZZING
            and has_examples
            and event.status is Status.SUCCESS
            and case_count < self._examples
        ):
            self._result.errors.append(f"{event.label}: only {case_count} random calls were made")


def _index_operations(document: Json) -> dict[str, Json]:
    """Return the operations of a document by the names that schemathesis has for them."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def _build_config(url: str, examples: int, seed: int) -> Json:
    return {
        "seed": seed,
        "base-url": url,
        "headers": _KEY,
        "request-timeout": TIMEOUT_S,
        "continue-on-failure": True,
        "cache": {"enabled": False},
        "generation": {"max-examples": examples, "database": "none"},
        "checks": {"max_response_time": TIMEOUT_S},
        "phases": {"coverage": {"generate-duplicate-query-parameters": True}, "fuzzing": _INDEPENDENT},
    }


def _build_id_dictionaries(server: Server) -> Json:
    """Build a configuration that takes half of the ids from existing objects; random ids would never exist."""
    parameters: Json = {}
    dictionaries: Json = {}
    for resource in ("request", "job", "callback", "notification", "key"):
        items = server.call("GET", f"/v1/{resource}s", b"", _KEY).json["items"]
        dictionaries[resource] = {"values": [item["id"] for item in items]}
        parameters[f"path.{resource}_id"] = {"dictionary": resource, "probability": 0.5}
    # Without `wait=0` each call of a job that is not final would take as long as its preference says.
    return {"dictionaries": dictionaries, "parameters": {**parameters, "header.Prefer": "wait=0"}}


@contextmanager
def _register_hooks() -> Iterator[None]:
    hooks = (_set_future_expiry, _replace_example_key, _remove_lone_account)
    for hook in hooks:
        schemathesis.hook("before_call")(hook)
    try:
        yield
    finally:
        for hook in hooks:
            unregister(hook)


def _set_future_expiry(_: Any, case: Any, __: Any) -> None:
    """Set `expires_at` of new API keys to the future, which JSON Schema cannot express."""
    if case.operation.label != "POST /v1/keys" or not isinstance(case.body, dict):
        return
    try:
        if datetime.fromisoformat(case.body["expires_at"].upper()) <= datetime.now(UTC):
            case.body = {**case.body, "expires_at": _FUTURE}
    except (AttributeError, KeyError, TypeError, ValueError):
        return


def _replace_example_key(_: Any, case: Any, __: Any) -> None:
    """Replace the document's example of an `Idempotency-Key` by a new key: any other body with it would be a 409."""
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    if is_valid and case.headers.get("Idempotency-Key") == _EXAMPLE_KEY:
        case.headers["Idempotency-Key"] = f"{_EXAMPLE_KEY}-{uuid4()}"


def _remove_lone_account(_: Any, case: Any, __: Any) -> None:
    """Remove the filter `account` from a query without `provider`, which OpenAPI cannot express."""
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    if is_valid and case.query and "provider" not in case.query:
        case.query.pop("account", None)
