"""`/v1`, the API of clients and admins; each module declares the operations on one resource."""

from receiver.web.v1 import bulk_actions, callbacks, jobs, keys, notifications, providers, requests, tail
from receiver.web.v1.blueprint import api

__all__ = ["api", "bulk_actions", "callbacks", "jobs", "keys", "notifications", "providers", "requests", "tail"]
