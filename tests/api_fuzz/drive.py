"""Drives schemathesis against the service by its OpenAPI document, with all its checks."""

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

from tests.http import Json, Server
from tests.processes import ADMIN_KEY

PATIENCE = 10.0
_KEY = {"Authorization": f"Bearer {ADMIN_KEY}"}
_LAST_DAY = "8999-12-31T23:59:59Z"
_EXAMPLE = "order-7"
# What is drawn must not depend on earlier answers: Hypothesis would end an operation's turn in silence.
_DRAWN = {"extra-data-sources": {"responses": False}, "error-feedback": {"enabled": False}}
_BY_CHANCE = {"enabled": False, "fuzzing": {**_DRAWN, "enabled": True}}
_MORE_TURNS = 3
"""schemathesis sometimes takes what it made of a recursive schema for one that nothing can be drawn of."""


@dataclass(slots=True)
class Tally:
    """What became of one operation's calls: the statuses of the answers, and what was wrong with them."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def succeeded(self) -> int:
        return sum(count for status, count in self.statuses.items() if status < 300)

    def told(self, name: str) -> str:
        """Give a line for people, and the failures below it."""
        statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        line = f"{'FAILED' if self.failures else 'ok':<6}  {name:<45} {self.statuses.total():>9,}  {statuses}"
        return "\n".join([line, *self.failures.values()])


@dataclass(slots=True)
class Result:
    """What a run found, by operation; `errors` are what kept it from testing."""

    tallies: dict[str, Tally]
    errors: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.errors and not any(tally.failures for tally in self.tallies.values())

    def told(self) -> str:
        """Give lines for people."""
        return "\n".join([*(tally.told(name) for name, tally in sorted(self.tallies.items())), *self.errors])


class Run:
    """Calls to every operation, as documented and otherwise, `examples` times in each phase that goes by chance.

    A `brief` one tries every border of a submission's schema only where one is submitted, and not in batches, and waits
    for no job.
    """

    def __init__(self, server: Server, document: Json, examples: int, seed: int, *, brief: bool = False) -> None:
        self._document = document
        self._config = _config(f"http://{server.host}:{server.port}", examples, seed) | _known(server)
        if brief:
            self._config["parameters"]["header.Prefer"] = "respond-async"
            self._config["operations"] = [
                {"include-path": "/v1/requests/batch", "phases": {"coverage": {"enabled": False}}}
            ]
        self._examples = examples
        self._result = Result({name: Tally() for name in _operations(self._document)})
        self._undrawn: dict[str, str] = {}

    def fuzz(self) -> Result:
        """Make the calls; an operation of which none more could be drawn has another turn, with the next seed."""
        with _hooks():
            self._execute(self._config, list(self._result.tallies))
            for permit in range(1, _MORE_TURNS + 1):
                names, self._undrawn = list(self._undrawn), {}
                if names:
                    self._execute(self._config | {"seed": self._config["seed"] + permit, "phases": _BY_CHANCE}, names)
        self._result.errors += self._undrawn.values()
        return self._result

    def _execute(self, config: Json, names: Sequence[str]) -> None:
        made = schemathesis.openapi.from_dict(self._document, config=schemathesis.Config.from_dict(config))
        for event in from_schema(made.include(name=list(names))).execute():
            self._take(event)

    def _take(self, event: events.EngineEvent) -> None:
        errors = self._result.errors
        match event:
            case events.ScenarioFinished():
                self._count(event.recorder)
                self._demand_whole(event)
            case events.NonFatalError(phase=PhaseName.FUZZING, value=InvalidSchema()):
                self._undrawn[event.label] = f"{event.label}: {event.info.format()}"
            case events.NonFatalError():
                errors.append(f"{event.label}: {event.info.format()}")
            case events.FatalError():
                errors.append(f"the run broke: {event.exception!r}")
            case events.EngineFinished():
                errors += [str(failure) for failure in event.failures]

    def _count(self, recorder: ScenarioRecorder) -> None:
        for case_id, node in recorder.cases.items():
            tally = self._result.tallies[node.value.operation.label]
            interaction = recorder.interactions.get(case_id)
            response = interaction.response if interaction else None
            if response:
                tally.statuses[response.status_code] += 1
            for check in recorder.checks.get(case_id, ()):
                if check.failure_info:
                    failure = check.failure_info.failure
                    answered = response.text[:500] if response else ""
                    told = f"  {check.name}: {failure}\n  {answered}\n  {check.failure_info.code_sample[:2_000]}"
                    tally.failures.setdefault(f"{check.name} {failure.title}", told)

    def _demand_whole(self, event: events.ScenarioFinished) -> None:
        """Refuse a turn that ended early without a word, as one does whose examples could not be drawn."""
        described = _operations(self._document).get(event.label or "", {})
        endless = described.get("parameters") or "requestBody" in described
        made = len(event.recorder.cases)
        if event.phase is PhaseName.FUZZING and endless and event.status is Status.SUCCESS and made < self._examples:
            self._result.errors.append(f"{event.label}: only {made} calls were made by chance")


def _operations(document: Json) -> dict[str, Json]:
    """Give what a document describes, by the names that schemathesis has for it."""
    return {
        f"{method.upper()} {path}": described
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    }


def _config(url: str, examples: int, seed: int) -> Json:
    return {
        "seed": seed,
        "base-url": url,
        "headers": _KEY,
        "request-timeout": PATIENCE,
        "continue-on-failure": True,
        "cache": {"enabled": False},
        "generation": {"max-examples": examples, "database": "none"},
        "checks": {"max_response_time": PATIENCE},
        "phases": {"coverage": {"generate-duplicate-query-parameters": True}, "fuzzing": _DRAWN},
    }


def _known(server: Server) -> Json:
    """Let half of the ids be of what there is; by chance none would be."""
    parameters: Json = {}
    dictionaries: Json = {}
    for thing in ("request", "job", "callback", "key"):
        listed = server.call("GET", f"/v1/{thing}s", b"", _KEY).json["items"]
        dictionaries[thing] = {"values": [item["id"] for item in listed]}
        parameters[f"path.{thing}_id"] = {"dictionary": thing, "probability": 0.5}
    # A job that is not final would hold each answer as long as is asked for.
    return {"dictionaries": dictionaries, "parameters": {**parameters, "header.Prefer": "wait=0"}}


@contextmanager
def _hooks() -> Iterator[None]:
    hooks = (_expire_later, _use_another_key)
    for hook in hooks:
        schemathesis.hook("before_call")(hook)
    try:
        yield
    finally:
        for hook in hooks:
            unregister(hook)


def _expire_later(_: Any, case: Any, __: Any) -> None:
    """Let keys that are to be made expire one day: JSON Schema cannot say that a time has yet to come."""
    if case.operation.label != "POST /v1/keys" or not isinstance(case.body, dict):
        return
    try:
        if datetime.fromisoformat(case.body["expires_at"].upper()) <= datetime.now(UTC):
            case.body = {**case.body, "expires_at": _LAST_DAY}
    except (AttributeError, KeyError, TypeError, ValueError):
        return


def _use_another_key(_: Any, case: Any, __: Any) -> None:
    """Let the document's example of an `Idempotency-Key` stand for a new one: any other body under it is a 409."""
    good = case.meta is not None and case.meta.generation.mode.is_positive
    if good and case.headers.get("Idempotency-Key") == _EXAMPLE:
        case.headers["Idempotency-Key"] = f"{_EXAMPLE}-{uuid4()}"
