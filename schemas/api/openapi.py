"""The schema of the query of `/openapi.json`."""

from receiver.schemas.api.common import QueryBoolean, StrictInput


class DocumentQuerySchema(StrictInput):
    """The query of the OpenAPI document."""

    webhooks = QueryBoolean(load_default=True)
