"""The schemas of the OpenAPI document that follow from the configuration: what clients may submit and track.

A generator of clients names a type after each component, so that the names do not depend on how many providers and
operations are configured: a submission is always one of `Submission.PROVIDER.OPERATION`.
"""

from collections.abc import Collection, Mapping
from typing import Any

from receiver.domain.accounts import NAME_PATTERN, list_base_names
from receiver.domain.targets import TargetRules
from receiver.providers.base import Provider
from receiver.schemas.json_schema import DEFINITIONS
from receiver.settings import Settings
from receiver.web.openapi.parts import PROBLEM_TYPE
from receiver.web.openapi.references import build_reference, replace_references
from receiver.web.openapi.submissions import (
    MAX_LISTED_ACCOUNTS,
    build_tracking_variants,
    list_submittable_operations,
)


def add_configured_schemas(schemas: dict[str, Any], settings: Settings, *, is_public: bool) -> Mapping[str, str]:
    """Add what is configured: providers, the payloads of their operations, and allowed `notify_url`s.

    Args:
        schemas: the schemas of the document by name, which are changed.
        settings: the settings.
        is_public: whether the document contains no hosts of webhook notifications.

    Returns:
        The references that other parts of the document must use, by the references that they have.
    """
    providers = settings.providers
    schemas["Problem"]["properties"]["type"] = dict(PROBLEM_TYPE)
    schemas["NewKey"]["properties"]["providers"]["items"] = build_name_schema({*providers, *list_base_names(providers)})
    notify_url = _build_notify_url_schema(settings.notify_targets, is_public=is_public)
    for schema in (schemas["Submission"], schemas["Tracking"]):
        schema["properties"]["notify_url"] |= notify_url
        if settings.notify_targets is None:
            del schema["dependentRequired"], schema["properties"]["notify_events"]
    submissions = _add_submissions(schemas, providers)
    tracking = build_tracking_variants(schemas["Tracking"], providers)
    return {**_add_variants(schemas, "Submission", submissions), **_add_variants(schemas, "Tracking", tracking)}


def build_name_schema(configured: Collection[str]) -> dict[str, Any]:
    """Build the schema of one of these names of providers; long lists of them are left out."""
    names = sorted(configured)
    if names and len(names) <= MAX_LISTED_ACCOUNTS:
        return {"type": "string", "enum": names}
    return {"type": "string", "pattern": f"^{NAME_PATTERN}(/{NAME_PATTERN})?$"}


def _add_submissions(schemas: dict[str, Any], providers: Mapping[str, Provider]) -> Mapping[str, Any]:
    """Add the payloads of all operations, and return the submission of each, by `PROVIDER.OPERATION`."""
    general = schemas["Submission"]
    variants = {}
    for item in list_submittable_operations(providers):
        variant = f"{item.provider}.{item.name}"
        schemas |= _build_components(f"Payload.{variant}", item.operation.build_payload_schema())
        properties = {
            "provider": {"type": "string", "enum": [item.provider]},
            "account": item.account_schema,
            "operation": {"type": "string", "enum": [item.name]},
            "payload": {"$ref": build_reference(f"Payload.{variant}")},
        }
        variants[variant] = {
            **general,
            "description": f"A request to submit to {item.provider} with its operation `{item.name}`.",
            "properties": {**general["properties"], **properties},
            "required": [*general["required"], *(["account"] if item.requires_account else [])],
        }
    return variants


def _add_variants(schemas: dict[str, Any], name: str, variants: Mapping[str, Any]) -> Mapping[str, str]:
    """Replace a schema by its variants, and return the references that change: a single variant takes its place."""
    components = {f"{name}.{variant}": schema for variant, schema in variants.items()}
    schemas |= components
    match [*components]:
        case []:
            return {}
        case [component]:
            del schemas[name]
            return {build_reference(name): build_reference(component)}
    references = [{"$ref": build_reference(component)} for component in components]
    schemas[name] = {"description": schemas[name]["description"], "oneOf": references}
    return {}


def _build_notify_url_schema(notify_targets: TargetRules | None, *, is_public: bool = False) -> Mapping[str, Any]:
    if notify_targets is None:
        # Not the type "null", of which some generators can make no type, and which has another name once it is set.
        return {
            "not": {"type": "string"},
            "description": "null: not available, because RECEIVER_NOTIFY_HOSTS is not set",
        }
    return {} if is_public else {"pattern": notify_targets.pattern}


def _build_components(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Build components from a schema and its own `$defs`; shared definitions keep their name."""
    definitions = {
        key: definition for key, definition in schema.get("$defs", {}).items() if DEFINITIONS.get(key) != definition
    }
    targets = {f"#/$defs/{key}": build_reference(f"{name}.{key}") for key in definitions}
    root = {key: value for key, value in schema.items() if key != "$defs"}
    return {name: replace_references(root, targets)} | {
        f"{name}.{key}": replace_references(definition, targets) for key, definition in definitions.items()
    }
