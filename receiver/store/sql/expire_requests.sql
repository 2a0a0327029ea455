-- End queued requests whose deadline passed; one that may have been acted on before is unknown, not failed. `lookup_delays`
-- holds, for each provider that can be asked about unknown requests, in how many seconds it is asked first. Gives them.
WITH expired AS (
    UPDATE requests SET
        status = CASE WHEN ambiguous THEN 'unknown' ELSE 'failed' END,
        detail = concat_ws('; ', concat_ws('; last: ', 'deadline passed', detail),
            CASE WHEN ambiguous AND %(lookup_delays)s::jsonb ? provider THEN 'its provider is asked about it' END),
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
noted AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM expired WHERE notify_url IS NOT NULL AND finished_at IS NOT NULL
)
SELECT id FROM expired
