"""`/admin/`: pages for people, rendered on the server from what the operations of the API return.

A page performs an operation of `/v1` for the API key that signed in, see `receiver.web.admin.calls`, so pages and API
show the same, to the same keys. The pages work without JavaScript.
"""

from receiver.web.admin import (
    access,
    browse,
    bulk_actions,
    callback_page,
    catalog,
    job_page,
    keys,
    notifications,
    overview,
    providers,
    requests,
    search,
)
from receiver.web.admin.blueprint import admin

__all__ = [
    "access",
    "admin",
    "browse",
    "bulk_actions",
    "callback_page",
    "catalog",
    "job_page",
    "keys",
    "notifications",
    "overview",
    "providers",
    "requests",
    "search",
]
