-- Take a request out of the queue. One that may have been acted on in an earlier attempt is unknown, not cancelled; its
-- provider is asked about it in `first_lookup_after` seconds, if it can be. Gives it if it was in the queue.
WITH cancelled AS (
    UPDATE requests SET
        status = CASE WHEN ambiguous THEN 'unknown' ELSE 'cancelled' END,
        detail = CASE WHEN NOT ambiguous THEN 'cancelled'
            ELSE concat_ws('; ', 'cancelled, but an earlier attempt may have been acted on',
                CASE WHEN %(first_lookup_after)s::double precision IS NOT NULL THEN 'its provider is asked about it' END) END,
        due_at = NULL,
        finished_at = CASE WHEN NOT ambiguous THEN now() END,
        next_lookup_at = CASE WHEN ambiguous THEN now() + make_interval(secs => %(first_lookup_after)s::double precision) END,
        unknown_since = CASE WHEN ambiguous THEN now() END,
        lookup_count = 0,
        not_found = 0
    WHERE id = %(id)s AND status = 'queued'
    RETURNING id, notify_url, finished_at
),
noted AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM cancelled WHERE notify_url IS NOT NULL AND finished_at IS NOT NULL
)
SELECT id FROM cancelled
