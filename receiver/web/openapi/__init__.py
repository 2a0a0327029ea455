"""The API reference, built from the declared operations: the OpenAPI document, and a page for people."""
