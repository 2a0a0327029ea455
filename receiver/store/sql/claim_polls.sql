-- Lease silent jobs that are due to be asked about, at most as many as each provider's free capacity of exchanges
-- serves: one exchange asks about so many jobs as `batches` has of the provider, one if it has not, or about one that has
-- a URL of its own. The lease is the next time to ask, should this worker die; the answer replaces it. See `open_capacities`
-- for who is passed over.
WITH lanes AS (
    SELECT capacity.provider, batch, capacity.free * batch AS room
    FROM open_capacities(%(capacities)s::jsonb) AS capacity
    CROSS JOIN LATERAL (SELECT coalesce((%(batches)s::jsonb ->> capacity.provider)::integer, 1) AS batch) AS of
),
due AS (
    SELECT found.id, lanes.room,
        sum(CASE WHEN found.location IS NULL THEN 1 ELSE lanes.batch END)
            OVER (PARTITION BY lanes.provider ORDER BY found.poll_at, found.id) AS needed
    FROM lanes CROSS JOIN LATERAL (
        SELECT id, poll_at, location FROM jobs WHERE provider = lanes.provider AND poll_at <= now()
        ORDER BY poll_at LIMIT lanes.room
        FOR UPDATE SKIP LOCKED
    ) AS found
)
UPDATE jobs SET poll_at = now() + make_interval(secs => %(lease)s), polls = polls + 1
WHERE id = ANY(ARRAY(SELECT due.id FROM due WHERE needed <= room))
RETURNING jobs.id, provider, reference, location, polls, accepted_at, deadline_at
