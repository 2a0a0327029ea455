-- Settle a request of which nobody knew whether it was taken, by an operator's word, which is noted for those who want
-- to be told. Gives it if it was unknown.
WITH settled AS (
    UPDATE requests SET
        status = %(status)s,
        detail = %(detail)s,
        next_lookup_at = NULL,
        finished_at = CASE WHEN %(status)s <> 'accepted' THEN now() END
    WHERE id = %(id)s AND status = 'unknown'
    RETURNING id, notify_url
),
noted AS (
    INSERT INTO notification_outbox (request_id) SELECT id FROM settled WHERE notify_url IS NOT NULL
)
SELECT id FROM settled
