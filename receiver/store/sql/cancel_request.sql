-- Cancel a queued request. A request that the provider may have acted on in an earlier attempt becomes unknown instead;
-- it is looked up in `first_lookup_after` seconds, or never if that is null. Return the id if the request was queued.
WITH cancelled_requests AS (
    UPDATE requests SET
        status = CASE WHEN ambiguous THEN 'unknown' ELSE 'cancelled' END,
        detail = CASE WHEN NOT ambiguous THEN 'cancelled'
            ELSE concat_ws('; ', 'cancelled, but the provider may have acted on an earlier attempt',
                CASE WHEN %(first_lookup_after)s::double precision IS NOT NULL THEN 'a lookup is scheduled' END) END,
        due_at = NULL,
        finished_at = CASE WHEN NOT ambiguous THEN now() END,
        next_lookup_at = CASE WHEN ambiguous
            THEN now() + make_interval(secs => %(first_lookup_after)s::double precision) END,
        unknown_since = CASE WHEN ambiguous THEN now() END,
        lookup_count = 0,
        not_found = 0
    WHERE id = %(id)s AND status = 'queued'
    RETURNING id, notify_url, finished_at
),
notifications AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM cancelled_requests WHERE notify_url IS NOT NULL AND finished_at IS NOT NULL
)
SELECT id FROM cancelled_requests
