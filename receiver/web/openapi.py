"""The OpenAPI 3.1 document, made of the operations as they are declared and of the providers that are configured.

What is always the same stands in `openapi_parts`, how providers call back in `openapi_webhooks`.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from apispec import APISpec

from receiver.providers.base import Provider
from receiver.providers.webhook import WebhookSender
from receiver.schemas.api.common import ProblemSchema
from receiver.schemas.api.requests import NotificationSchema
from receiver.schemas.json_schema import DEFINITIONS, OPENAPI, SchemaPlugin
from receiver.settings import Settings
from receiver.web.examples import Example, build_examples
from receiver.web.openapi_parts import (
    COMMON_PROBLEMS,
    IDENTIFIER,
    INTRODUCTION,
    KEY,
    PLAIN,
    PROBLEMS,
    RATE_LIMIT_HEADERS,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    SECURITY_SCHEMES,
    TAGS,
    describe_header,
    describe_problem,
)
from receiver.web.openapi_webhooks import describe_webhooks
from receiver.web.operations import ApiOperation

JSON = "application/json"
_PART = re.compile(r"<(?:(\w+):)?(\w+)>")
_LINKED: Mapping[str, tuple[str, ...]] = {
    "submit_request": ("show_request", "retry_request", "cancel_request"),
    "make_key": ("end_key",),
}


def build_document(settings: Settings, operations: Iterable[ApiOperation]) -> dict[str, Any]:
    """Give the whole document; it holds nothing that is secret.

    Args:
        settings: what is configured; `provider` and `operation` are enumerations of it.
        operations: those that are served below `/v1`.
    """
    plugin = SchemaPlugin()
    spec = APISpec("callback-receiver", version("callback-receiver"), OPENAPI, plugins=[plugin])
    for tag, told in TAGS.items():
        spec.tag({"name": tag, "description": told})
    spec.components.security_scheme(KEY, dict(SECURITY_SCHEMES[KEY]))
    spec.components.schema("Problem", schema=ProblemSchema())
    if settings.notifier:
        spec.components.schema("Notification", schema=NotificationSchema())
    for name, described in RESPONSE_HEADERS.items():
        spec.components.header(name, dict(described))
    for status in COMMON_PROBLEMS:
        spec.components.response(PROBLEMS[status][0], describe_problem(status))
    declared = list(operations)
    calls = build_examples(settings.providers)
    for operation in declared:
        described = _operation(operation, calls[operation.name], plugin, settings, declared)
        spec.path(openapi_path(operation), operations={operation.method.lower(): described})
    for path, described in PLAIN.items():
        spec.path(path, operations={"get": dict(described)})
    made = spec.to_dict()
    _configure(made["components"]["schemas"], settings.providers, settings.notifier)
    document = {
        "openapi": made["openapi"],
        "info": {**made["info"], "description": INTRODUCTION},
        "servers": [{"url": settings.public_url}],
        "tags": made["tags"],
        "paths": made["paths"],
        "webhooks": describe_webhooks(settings),
        "components": made["components"],
    }
    located: dict[str, Any] = _located(document)
    return located


def openapi_path(operation: ApiOperation) -> str:
    """Give an operation's path as OpenAPI writes it."""
    return _PART.sub(r"{\2}", operation.path)


def _operation(
    operation: ApiOperation, call: Example, plugin: SchemaPlugin, settings: Settings, declared: Iterable[ApiOperation]
) -> dict[str, Any]:
    scope = operation.scope.value
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.path.split("/")[2]],
        "summary": operation.summary,
        "description": f"{operation.description}\n\nNeeds a key with the scope `{scope}`.".strip(),
        "x-scope": scope,
        "security": [{KEY: [scope]}],
        "parameters": [
            *_path_parameters(operation, call, settings.providers),
            *_query_parameters(operation, call, plugin),
            *_header_parameters(operation),
        ],
        "responses": _responses(operation, call, settings, declared),
    }
    if operation.body is not None:
        shown = {name: {"value": body} for name, body in call.bodies.items()}
        described["requestBody"] = {
            "required": not operation.optional_body,
            "content": {JSON: {"schema": operation.body, "examples": shown}},
        }
    return described


def _path_parameters(
    operation: ApiOperation, call: Example, providers: Mapping[str, Provider]
) -> Iterable[dict[str, Any]]:
    for kind, name in _PART.findall(operation.path):
        schema = dict(IDENTIFIER) if kind == "uuid" else _names(providers)
        yield {"in": "path", "name": name, "required": True, "schema": schema, "example": call.path[name]}


def _query_parameters(operation: ApiOperation, call: Example, plugin: SchemaPlugin) -> Iterable[dict[str, Any]]:
    for name, schema in plugin.schema_of(operation.query)["properties"].items():
        parameter = {"in": "query", "name": name, "description": schema.pop("description"), "schema": schema}
        if schema["type"] == "object":
            longest = schema["propertyNames"]["maxLength"]
            schema["propertyNames"] = {"pattern": rf"^{name}\.[^\u0000]{{1,{longest}}}$"}
            parameter |= {"style": "form", "explode": True}
            parameter["example"] = {one: value for one, value in call.query.items() if one.startswith(f"{name}.")}
        elif name in call.query:
            parameter["example"] = call.query[name]
        yield parameter | {"schema": _never_null(schema)}


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Give a schema without the null that a query cannot hold."""
    if isinstance(schema["type"], list):
        (schema["type"],) = (kind for kind in schema["type"] if kind != "null")
    if "enum" in schema:
        schema["enum"] = [word for word in schema["enum"] if word is not None]
    return schema


def _header_parameters(operation: ApiOperation) -> Iterable[dict[str, Any]]:
    for name, told in operation.headers.items():
        yield {"in": "header", "name": name, "description": told, **REQUEST_HEADERS[name]}


def _responses(
    operation: ApiOperation, call: Example, settings: Settings, declared: Iterable[ApiOperation]
) -> dict[str, Any]:
    links = {
        target.name: {
            "operationId": target.name,
            "parameters": {name: "$response.body#/id" for _, name in _PART.findall(target.path)},
            "description": target.summary,
        }
        for target in declared
        if target.name in _LINKED.get(operation.name, ())
    }
    good: dict[str, Any] = {
        "description": type(operation.response).__doc__ or "A page of the list.",
        "headers": {name: describe_header(name) for name in (*RATE_LIMIT_HEADERS, *operation.response_headers)},
        "content": {JSON: {"schema": operation.response, "example": call.response}},
    }
    if links:
        good["links"] = links
    responses = {str(operation.status): good}
    responses |= {str(status): {"$ref": f"#/components/responses/{PROBLEMS[status][0]}"} for status in _met(operation)}
    if operation.body is not None:
        most = operation.body_cap * settings.max_body
        responses["413"] = describe_problem(413, f"The body has more than {most} bytes.")
    for status, told in operation.refusals.items():
        responses[str(status)] = describe_problem(status, f"{told[0].upper()}{told[1:]}.", told)
    return dict(sorted(responses.items()))


def _met(operation: ApiOperation) -> Iterable[int]:
    """Give the errors that an operation may meet whatever it does."""
    for status in COMMON_PROBLEMS:
        if status != 415 or operation.body is not None:
            yield status


def _configure(schemas: dict[str, Any], providers: Mapping[str, Provider], notifier: WebhookSender | None) -> None:
    """Say in the schemas what is configured: who can be submitted to, what each operation takes, who may be told."""
    schemas |= DEFINITIONS
    schemas["NewKey"]["properties"]["providers"]["items"] = _names(providers)
    general = schemas["Submission"]
    general["properties"]["notify_url"] |= _told(notifier)
    ways: list[dict[str, str]] = []
    for name, provider in sorted(providers.items()):
        for operation in provider.operations():
            payload, way = f"Payload.{name}.{operation}", f"Submission.{name}.{operation}"
            schemas |= _lifted(payload, provider.payload_schema(operation))
            wanted = {
                "provider": {"type": "string", "enum": [name]},
                "operation": {"type": "string", "enum": [operation]},
                "payload": {"$ref": f"#/components/schemas/{payload}"},
            }
            told = {"description": f"What is to be sent to {name} by its operation `{operation}`."}
            schemas[way] = {**general, **told, "properties": {**general["properties"], **wanted}}
            ways.append({"$ref": f"#/components/schemas/{way}"})
    if ways:
        schemas["Submission"] = {"description": general["description"], "oneOf": ways}


def _told(notifier: WebhookSender | None) -> Mapping[str, Any]:
    """Say which URLs may be told."""
    if notifier is None:
        return {"type": "null", "description": "nobody can be told, as RECEIVER_NOTIFY_HOSTS is not set"}
    return {"pattern": notifier.rules.pattern}


def _names(providers: Mapping[str, Provider]) -> dict[str, Any]:
    known: dict[str, Any] = {"enum": sorted(providers)} if providers else {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}
    return {"type": "string", **known}


def _lifted(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give a schema and its own `$defs` as components; those that all share keep their name."""
    own = {key: inner for key, inner in schema.get("$defs", {}).items() if DEFINITIONS.get(key) != inner}
    renamed = {f"#/$defs/{key}": f"#/components/schemas/{name}.{key}" for key in own}
    whole = {key: inner for key, inner in schema.items() if key != "$defs"}
    return {name: _referring(whole, renamed)} | {
        f"{name}.{key}": _referring(inner, renamed) for key, inner in own.items()
    }


def _located(document: Any) -> Any:
    """Let references to what all share lead to the components."""
    return _referring(document, {f"#/$defs/{name}": f"#/components/schemas/{name}" for name in DEFINITIONS})


def _referring(value: Any, renamed: Mapping[str, str]) -> Any:
    """Copy a document with other targets of its references."""
    if isinstance(value, Mapping):
        copied = {key: _referring(inner, renamed) for key, inner in value.items()}
        if isinstance(copied.get("$ref"), str):
            copied["$ref"] = renamed.get(copied["$ref"], copied["$ref"])
        return copied
    return [_referring(inner, renamed) for inner in value] if isinstance(value, list | tuple) else value
