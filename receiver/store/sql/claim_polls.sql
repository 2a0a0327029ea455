-- Lease silent jobs that are due to be asked about, at most each provider's free capacity. The lease is the next time
-- to ask, should this worker die; the answer replaces it. Providers that are paused, or refused the credentials of who
-- asks, are passed over.
WITH lanes AS (
    SELECT l.provider, l.capacity
    FROM jsonb_to_recordset(%(lanes)s::jsonb) AS l(provider text, capacity integer, credentials text)
    WHERE NOT EXISTS (SELECT FROM providers WHERE name = l.provider AND paused_at IS NOT NULL)
        AND NOT EXISTS (
            SELECT FROM refused_credentials WHERE provider = l.provider AND fingerprint = l.credentials)
),
due AS (
    SELECT found.id FROM lanes CROSS JOIN LATERAL (
        SELECT id FROM jobs WHERE provider = lanes.provider AND poll_at <= now()
        ORDER BY poll_at LIMIT lanes.capacity
        FOR UPDATE SKIP LOCKED
    ) AS found
)
UPDATE jobs SET poll_at = now() + make_interval(secs => %(lease)s), polls = polls + 1
WHERE id = ANY(ARRAY(SELECT due.id FROM due))
RETURNING jobs.id, provider, reference, location, polls, accepted_at, deadline_at
