"""Clients that generators make of the OpenAPI document: they compile, and work against a running service."""
