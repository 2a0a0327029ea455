"""The OpenAPI 3.1 document, built from the declared operations and the configured providers.

`parts` has the parts that do not depend on the configuration, `configured_schemas` the schemas that do, `webhooks` the
callbacks of providers and the webhook notifications.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from apispec import APISpec

from receiver.domain.accounts import list_base_names
from receiver.providers.base import Provider
from receiver.schemas.api.common import ProblemSchema
from receiver.schemas.api.notifications import JobsNotificationSchema, NotificationSchema
from receiver.schemas.api.requests import METADATA_NAME_PATTERN
from receiver.schemas.json_schema import DEFINITIONS, OPENAPI, SchemaPlugin
from receiver.settings import Settings
from receiver.web.openapi.configured_schemas import add_configured_schemas, build_name_schema
from receiver.web.openapi.examples import Example, build_examples
from receiver.web.openapi.parts import (
    COMMON_PROBLEMS,
    IDENTIFIER,
    INTRODUCTION,
    KEY,
    PLAIN,
    PROBLEM_RESPONSES,
    RATE_LIMIT_HEADERS,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    SECURITY_SCHEMES,
    TAGS,
    WEBHOOKS_TAG,
    describe_common_problem,
    describe_header,
    describe_problem,
)
from receiver.web.openapi.references import build_reference, replace_references
from receiver.web.openapi.webhooks import describe_webhooks
from receiver.web.operations import ApiOperation
from receiver.web.problems import ProblemType

JSON = "application/json"
_VARIABLE = re.compile(r"<(?:(\w+):)?(\w+)>")
_LINKS: Mapping[str, tuple[str, ...]] = {
    "submit_request": ("show_request", "retry_request", "cancel_request"),
    "track_job": ("show_job",),
    "create_api_key": ("revoke_api_key",),
}


def build_document(
    settings: Settings, operations: Iterable[ApiOperation], *, is_public: bool = False, has_webhooks: bool = True
) -> dict[str, Any]:
    """Build the document, which contains no secrets.

    Args:
        settings: the settings, whose providers and operations become enumerations.
        operations: the operations of `/v1`.
        is_public: whether anybody may read it: it then contains neither networks nor hosts of webhook notifications.
        has_webhooks: whether it describes the callbacks of providers and the webhook notifications, which some
            generators of clients mistake for operations.
    """
    plugin = SchemaPlugin()
    spec = APISpec("callback-receiver", version("callback-receiver"), OPENAPI, plugins=[plugin])
    for tag, description in TAGS.items():
        if tag == WEBHOOKS_TAG and not has_webhooks:
            continue
        spec.tag({"name": tag, "description": description})
    spec.components.security_scheme(KEY, dict(SECURITY_SCHEMES[KEY]))
    spec.components.schema("Problem", schema=ProblemSchema())
    if settings.notify_targets and has_webhooks:
        spec.components.schema("Notification", schema=NotificationSchema())
        spec.components.schema("JobsNotification", schema=JobsNotificationSchema())
    for name, header in RESPONSE_HEADERS.items():
        spec.components.header(name, dict(header))
    for status in COMMON_PROBLEMS:
        spec.components.response(PROBLEM_RESPONSES[status].name, describe_common_problem(status))
    all_operations = sorted(operations, key=_get_reading_position)
    examples = build_examples(settings.providers)
    for operation in all_operations:
        described = _describe_operation(operation, examples[operation.name], plugin, settings, all_operations)
        spec.path(openapi_path(operation), operations={operation.method.lower(): described})
    for path, plain_operation in PLAIN.items():
        spec.path(path, operations={"get": dict(plain_operation)})
    parts = spec.to_dict()
    schemas = parts["components"]["schemas"]
    shared = {**DEFINITIONS, **plugin.enumerations}
    schemas |= shared
    targets = add_configured_schemas(schemas, settings, is_public=is_public)
    document = {
        "openapi": parts["openapi"],
        "info": {**parts["info"], "description": INTRODUCTION},
        "servers": [{"url": settings.public_url}],
        "tags": parts["tags"],
        "paths": parts["paths"],
        **({"webhooks": describe_webhooks(settings, is_public=is_public)} if has_webhooks else {}),
        "components": parts["components"],
    }
    definitions = {f"#/$defs/{name}": build_reference(name) for name in shared}
    resolved: dict[str, Any] = replace_references(document, {**definitions, **targets})
    return resolved


def _get_reading_position(operation: ApiOperation) -> tuple[int, bool]:
    """Return where to describe an operation: in the order of the tags, those for many objects last."""
    return list(TAGS).index(_get_tag(operation)), operation.path.endswith("/bulk")


def _get_tag(operation: ApiOperation) -> str:
    return operation.path.split("/")[2]


def openapi_path(operation: ApiOperation) -> str:
    """Return an operation's path as OpenAPI writes it."""
    return _VARIABLE.sub(r"{\2}", operation.path)


def _describe_operation(
    operation: ApiOperation,
    example: Example,
    plugin: SchemaPlugin,
    settings: Settings,
    all_operations: Iterable[ApiOperation],
) -> dict[str, Any]:
    scope = operation.scope.value
    description: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [_get_tag(operation)],
        "summary": operation.summary,
        "description": f"{operation.description}\n\n{_describe_scope(operation)}".strip(),
        "x-scope": scope,
        **({"x-own-scope": operation.own_scope.value} if operation.own_scope else {}),
        "security": [{KEY: [scope]}],
        "parameters": [
            *_describe_path_parameters(operation, example, settings.providers),
            *_describe_query_parameters(operation, example, plugin),
            *_describe_header_parameters(operation),
        ],
        "responses": _describe_responses(operation, example, settings, all_operations),
    }
    if operation.body is not None:
        bodies = {name: {"value": body} for name, body in example.bodies.items()}
        description["requestBody"] = {
            "required": not operation.optional_body,
            "content": {JSON: {"schema": operation.body, "examples": bodies}},
        }
    return description


def _describe_scope(operation: ApiOperation) -> str:
    required = f"Requires a key with the scope `{operation.scope}`"
    if operation.own_scope is None:
        return f"{required}."
    return f"{required}, or `{operation.own_scope}` for what the client of the key submitted."


def _describe_path_parameters(
    operation: ApiOperation, example: Example, providers: Mapping[str, Provider]
) -> Iterable[dict[str, Any]]:
    for converter, name in _VARIABLE.findall(operation.path):
        schema = dict(IDENTIFIER) if converter == "uuid" else build_name_schema(list_base_names(providers))
        yield {"in": "path", "name": name, "required": True, "schema": schema, "example": example.path[name]}


def _describe_query_parameters(
    operation: ApiOperation, example: Example, plugin: SchemaPlugin
) -> Iterable[dict[str, Any]]:
    for name, schema in plugin.build_schema(operation.query)["properties"].items():
        parameter = {"in": "query", "name": name, "description": schema.pop("description"), "schema": schema}
        if schema.get("type") == "object":
            schema["propertyNames"] = {"pattern": METADATA_NAME_PATTERN}
            parameter |= {"style": "form", "explode": True}
            parameter["example"] = {key: value for key, value in example.query.items() if key.startswith(f"{name}.")}
        elif name in example.query:
            parameter["example"] = example.query[name]
        yield parameter | {"schema": _remove_null(schema)}


def _remove_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Remove null from a schema of a query parameter: a query cannot express null."""
    if "anyOf" in schema:
        (schema,) = (choice for choice in schema["anyOf"] if choice != {"type": "null"})
    if isinstance(schema.get("type"), list):
        (schema["type"],) = (name for name in schema["type"] if name != "null")
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    return schema


def _describe_header_parameters(operation: ApiOperation) -> Iterable[dict[str, Any]]:
    for name, description in operation.headers.items():
        yield {"in": "header", "name": name, "description": description, **REQUEST_HEADERS[name]}


def _describe_responses(
    operation: ApiOperation, example: Example, settings: Settings, all_operations: Iterable[ApiOperation]
) -> dict[str, Any]:
    links = {
        target.name: {
            "operationId": target.name,
            "parameters": {name: "$response.body#/id" for _, name in _VARIABLE.findall(target.path)},
            "description": target.summary,
        }
        for target in all_operations
        if target.name in _LINKS.get(operation.name, ())
    }
    success: dict[str, Any] = {
        "description": type(operation.response).__doc__ or "A page of the list.",
        "headers": {name: describe_header(name) for name in (*RATE_LIMIT_HEADERS, *operation.response_headers)},
        "content": {JSON: {"schema": operation.response, "example": example.response}},
    }
    if links:
        success["links"] = links
    responses = {str(operation.status): success}
    responses |= {
        str(status): success | {"description": description} for status, description in operation.other_statuses.items()
    }
    responses |= {
        str(status): {"$ref": f"#/components/responses/{PROBLEM_RESPONSES[status].name}"}
        for status in _find_common_problems(operation)
    }
    if operation.body is not None:
        detail = f"The body must not exceed {operation.body_size_factor * settings.max_body_bytes} bytes."
        responses["413"] = describe_problem([ProblemType.PAYLOAD_TOO_LARGE], detail)
    for status in {problem_type.status for problem_type in operation.problems}:
        details = {kind: detail for kind, detail in operation.problems.items() if kind.status == status}
        description = " ".join(f"`{problem_type.slug}`: {detail}" for problem_type, detail in details.items())
        example_detail = next(iter(details.values()))
        responses[str(status)] = describe_problem(list(details), example_detail, description=description)
    return dict(sorted(responses.items()))


def _find_common_problems(operation: ApiOperation) -> Iterable[int]:
    """Yield the error statuses that do not depend on what an operation does."""
    for status in COMMON_PROBLEMS:
        if status != 415 or operation.body is not None:
            yield status
