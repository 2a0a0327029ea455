-- Store the repaired state of requests. A request whose only attempt is lost becomes ambiguous: the provider may have
-- acted on it. A lease that ends now lets the sweep for lost attempts decide. Insert a notification for each accepted
-- request.
WITH repaired_requests AS (
    UPDATE requests SET
        status = coalesce(input.status, requests.status),
        attempts = coalesce(input.attempts, requests.attempts),
        failures = least(failures, coalesce(input.attempts, requests.attempts)),
        ambiguous = ambiguous OR coalesce(input.status = 'unknown', false),
        detail = CASE WHEN input.detail IS NULL THEN requests.detail
            ELSE concat_ws('; last: ', input.detail, requests.detail) END,
        due_at = CASE WHEN input.status IS NULL THEN due_at END,
        next_lookup_at = CASE WHEN input.status IS NULL THEN next_lookup_at END,
        lookup_count = CASE WHEN input.status IS NULL THEN lookup_count ELSE 0 END,
        leased_until = CASE WHEN input.lease_ends THEN now() WHEN input.status IS NULL THEN leased_until END
    FROM jsonb_to_recordset(%(requests)s::jsonb) AS input(
        id uuid, status text, attempts integer, detail text, lease_ends boolean)
    WHERE requests.id = input.id
    RETURNING requests.id, requests.notify_url, input.status
)
INSERT INTO notification_outbox (request_id)
SELECT id FROM repaired_requests WHERE notify_url IS NOT NULL AND status = 'accepted'
