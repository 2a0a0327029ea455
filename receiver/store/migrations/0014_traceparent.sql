-- Trace context: the `traceparent` of the call that submitted a request, see `receiver.domain.tracing`.
-- depends: 0013_forms_for_citus

ALTER TABLE requests ADD COLUMN traceparent text;
