"""Inbound callbacks: authenticate, parse, record with their events in one group commit, explain and replay.

The HTTP endpoint is `receiver.web.callbacks`; the SQL is in `receiver.store`.
"""
