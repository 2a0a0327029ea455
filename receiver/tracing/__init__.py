"""Traces with OpenTelemetry: one for each request, from its submission to the final status of its jobs.

A request's `traceparent` is stored with the request, so that every process that has to do with the request continues
its trace. Only `receiver.tracing.tracer` imports OpenTelemetry, and only `load_tracing` imports that module.
"""
