-- Lease due requests, for each provider at most its free capacity, and insert an attempt of each in the same statement:
-- the attempt is committed before anything is sent. See `open_capacities` for the providers that are skipped.
WITH due_requests AS (
    SELECT request.id FROM open_capacities(%(capacities)s::jsonb) AS capacity CROSS JOIN LATERAL (
        SELECT id FROM requests
        WHERE status = 'queued' AND provider = capacity.provider AND due_at <= now() AND deadline_at > now()
        ORDER BY due_at LIMIT capacity.free
        FOR UPDATE SKIP LOCKED
    ) AS request
),
claimed_requests AS (
    UPDATE requests SET status = 'sending', due_at = NULL, attempts = attempts + 1,
        leased_until = now() + make_interval(secs => %(lease)s)
    WHERE id = ANY(ARRAY(SELECT due_requests.id FROM due_requests))
    RETURNING requests.*, gen_random_uuid() AS attempt_id
),
inserted_attempts AS (
    INSERT INTO attempts (id, request_id, number, started_at)
    SELECT attempt_id, id, attempts, now() FROM claimed_requests
)
SELECT attempt_id AS id, id AS request_id, provider, operation, payload, failures, ambiguous, deadline_at,
    now() AS started_at, notify_url IS NOT NULL AS notify
FROM claimed_requests
