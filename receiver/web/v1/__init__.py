"""`/v1`, the API of clients and admins; each module declares the operations on one resource."""

from receiver.web.v1 import callbacks, jobs, keys, providers, requests, tail
from receiver.web.v1.blueprint import api

__all__ = ["api", "callbacks", "jobs", "keys", "providers", "requests", "tail"]
