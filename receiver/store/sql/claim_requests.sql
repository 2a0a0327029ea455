-- Lease due requests, at most each provider's free capacity, and begin an attempt for each in the same statement:
-- the attempt is committed before the bytes leave. Providers that are paused, or refused the credentials of who asks, are
-- passed over.
WITH due AS (
    SELECT found.id FROM open_capacities(%(capacities)s::jsonb) AS capacity CROSS JOIN LATERAL (
        SELECT id FROM requests
        WHERE status = 'queued' AND provider = capacity.provider AND due_at <= now() AND deadline_at > now()
        ORDER BY due_at LIMIT capacity.free
        FOR UPDATE SKIP LOCKED
    ) AS found
),
claimed AS (
    UPDATE requests SET status = 'sending', due_at = NULL, attempts = attempts + 1,
        leased_until = now() + make_interval(secs => %(lease)s)
    WHERE id = ANY(ARRAY(SELECT due.id FROM due))
    RETURNING requests.*, gen_random_uuid() AS attempt_id
),
begun AS (
    INSERT INTO attempts (id, request_id, number, started_at)
    SELECT attempt_id, id, attempts, now() FROM claimed
)
SELECT attempt_id AS id, id AS request_id, provider, operation, payload, failures, ambiguous, deadline_at,
    now() AS started_at, notify_url IS NOT NULL AS notify
FROM claimed
