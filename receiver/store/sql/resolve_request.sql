-- Set the status of an unknown request, as an operator decided, and insert a notification. Return the id if the request
-- was unknown.
WITH resolved_requests AS (
    UPDATE requests SET
        status = %(status)s,
        detail = %(detail)s,
        next_lookup_at = NULL,
        finished_at = CASE WHEN %(status)s <> 'accepted' THEN now() END
    WHERE id = %(id)s AND status = 'unknown'
    RETURNING id, notify_url
),
notifications AS (
    INSERT INTO notification_outbox (request_id) SELECT id FROM resolved_requests WHERE notify_url IS NOT NULL
)
SELECT id FROM resolved_requests
