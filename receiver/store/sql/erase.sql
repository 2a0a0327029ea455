-- name: erase_payloads
-- Erase the payloads of requests. Those that may be sent again keep theirs.
WITH locked_requests AS MATERIALIZED (
    SELECT id FROM requests
    WHERE id = ANY(%(ids)s) AND payload IS NOT NULL AND status NOT IN ('queued', 'sending', 'unknown')
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE requests SET payload = NULL, erased_at = coalesce(erased_at, now())
WHERE id = ANY(ARRAY(SELECT locked_requests.id FROM locked_requests))

-- name: erase_responses
-- Erase what the provider responded to the attempts of requests, except for the status.
WITH locked_attempts AS MATERIALIZED (
    SELECT id FROM attempts
    WHERE request_id = ANY(%(ids)s) AND (response_headers IS NOT NULL OR response_body IS NOT NULL)
    ORDER BY request_id, number FOR NO KEY UPDATE
)
UPDATE attempts SET response_headers = NULL, response_body = NULL
WHERE id = ANY(ARRAY(SELECT locked_attempts.id FROM locked_attempts))

-- name: erase_callbacks
-- Erase the raw data of callbacks: target, headers, body, the caller's address, and the messages of errors, which may
-- quote a value.
WITH locked_callbacks AS MATERIALIZED (
    SELECT id FROM callbacks WHERE id = ANY(%(ids)s) AND erased_at IS NULL
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE callbacks SET
    target = '',
    headers = '{}',
    body = CASE WHEN body IS NOT NULL THEN ''::bytea END,
    caller_address = NULL,
    errors = CASE WHEN errors IS NOT NULL THEN (
        SELECT coalesce(jsonb_object_agg(name, '["erased"]'::jsonb), '{}') FROM jsonb_object_keys(errors) AS error(name))
        END,
    erased_at = now()
WHERE id = ANY(ARRAY(SELECT locked_callbacks.id FROM locked_callbacks))
