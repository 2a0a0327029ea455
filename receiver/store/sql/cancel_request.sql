-- Take a request out of the queue. One that may have been acted on in an earlier attempt is unknown, not cancelled.
-- Gives it if it was in the queue.
WITH cancelled AS (
    UPDATE requests SET
        status = CASE WHEN ambiguous THEN 'unknown' ELSE 'cancelled' END,
        detail = CASE WHEN ambiguous THEN 'cancelled, but an earlier attempt may have been acted on'
            ELSE 'cancelled' END,
        due_at = NULL,
        finished_at = CASE WHEN NOT ambiguous THEN now() END
    WHERE id = %(id)s AND status = 'queued'
    RETURNING id, notify_url, finished_at
),
noted AS (
    INSERT INTO notices (request_id)
    SELECT id FROM cancelled WHERE notify_url IS NOT NULL AND finished_at IS NOT NULL
)
SELECT id FROM cancelled
