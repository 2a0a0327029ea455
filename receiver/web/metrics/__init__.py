"""Metrics for Prometheus: what the web processes of a run count, and what the database holds."""
