-- End queued requests whose deadline has passed, and return their ids. A request that the provider may have acted on
-- becomes unknown instead of failed. `lookup_delays` holds, for each provider that supports lookups, the seconds until
-- the first lookup.
WITH expired_requests AS (
    UPDATE requests SET
        status = CASE WHEN ambiguous THEN 'unknown' ELSE 'failed' END,
        detail = concat_ws('; ', concat_ws('; last: ', 'deadline passed', detail),
            CASE WHEN ambiguous AND %(lookup_delays)s::jsonb ? provider THEN 'a lookup is scheduled' END),
        due_at = NULL,
        finished_at = CASE WHEN NOT ambiguous THEN now() END,
        next_lookup_at = CASE WHEN ambiguous
            THEN now() + make_interval(secs => (%(lookup_delays)s::jsonb ->> provider)::double precision) END,
        unknown_since = CASE WHEN ambiguous THEN now() END,
        lookup_count = 0,
        not_found = 0
    WHERE id = ANY(ARRAY(
        SELECT id FROM requests WHERE status = 'queued' AND deadline_at <= now()
        ORDER BY deadline_at LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED))
    RETURNING id, notify_url, finished_at
),
notifications AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM expired_requests WHERE notify_url IS NOT NULL AND finished_at IS NOT NULL
)
SELECT id FROM expired_requests
