"""Following up open jobs and unknown requests: polls, lookups, deadlines, prune and audit.

The exchanges themselves are in `receiver.exchange`, the SQL is in `receiver.store`.
"""
