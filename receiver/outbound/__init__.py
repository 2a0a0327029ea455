"""Requests to providers: submit, lease, send, record the outcome; webhook notifications to clients."""
