-- Lease silent jobs that are due to be asked about, at most each provider's free capacity. The lease is the next time
-- to ask, should this worker die; the answer replaces it. Providers that are paused, or refused the credentials of who
-- asks, are passed over.
WITH due AS (
    SELECT found.id FROM open_lanes(%(lanes)s::jsonb) AS lane CROSS JOIN LATERAL (
        SELECT id FROM jobs WHERE provider = lane.provider AND poll_at <= now()
        ORDER BY poll_at LIMIT lane.capacity
        FOR UPDATE SKIP LOCKED
    ) AS found
)
UPDATE jobs SET poll_at = now() + make_interval(secs => %(lease)s), polls = polls + 1
WHERE id = ANY(ARRAY(SELECT due.id FROM due))
RETURNING jobs.id, provider, reference, location, polls, accepted_at, deadline_at
