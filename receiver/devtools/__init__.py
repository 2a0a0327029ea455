"""Databases for development, the demonstration and tests: an embedded Postgres and scratch databases.

These launchers create and drop databases themselves; all other SQL is in `receiver.store`.
"""
