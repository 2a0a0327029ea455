-- Store of requests what is proven of them. One whose only attempt is lost may have been acted on; a lease that ends now
-- lets the sweep judge its attempt. What is accepted is noted for those who want to be told of its end.
WITH mended AS (
    UPDATE requests SET
        status = coalesce(told.status, requests.status),
        attempts = coalesce(told.attempts, requests.attempts),
        failures = least(failures, coalesce(told.attempts, requests.attempts)),
        ambiguous = ambiguous OR coalesce(told.status = 'unknown', false),
        detail = CASE WHEN told.detail IS NULL THEN requests.detail
            ELSE concat_ws('; last: ', told.detail, requests.detail) END,
        due_at = CASE WHEN told.status IS NULL THEN due_at END,
        next_lookup_at = CASE WHEN told.status IS NULL THEN next_lookup_at END,
        lookup_count = CASE WHEN told.status IS NULL THEN lookup_count ELSE 0 END,
        leased_until = CASE WHEN told.lease_ends THEN now() WHEN told.status IS NULL THEN leased_until END
    FROM jsonb_to_recordset(%(requests)s::jsonb) AS told(
        id uuid, status text, attempts integer, detail text, lease_ends boolean)
    WHERE requests.id = told.id
    RETURNING requests.id, requests.notify_url, told.status
)
INSERT INTO notification_outbox (request_id) SELECT id FROM mended WHERE notify_url IS NOT NULL AND status = 'accepted'
