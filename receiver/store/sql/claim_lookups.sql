-- Lease unknown requests that their providers are due to be asked about, at most each provider's free capacity. The
-- lease is the next time to ask, should this worker die; the answer replaces it. Paused providers are passed over.
WITH lanes AS (
    SELECT l.provider, l.capacity FROM jsonb_to_recordset(%(lanes)s::jsonb) AS l(provider text, capacity integer)
    WHERE NOT EXISTS (SELECT FROM providers WHERE name = l.provider AND paused_at IS NOT NULL)
),
due AS (
    SELECT found.id FROM lanes CROSS JOIN LATERAL (
        SELECT id FROM requests WHERE provider = lanes.provider AND ask_at <= now()
        ORDER BY ask_at LIMIT lanes.capacity
        FOR UPDATE SKIP LOCKED
    ) AS found
)
UPDATE requests SET ask_at = now() + make_interval(secs => %(lease)s), asked = asked + 1
WHERE id = ANY(ARRAY(SELECT due.id FROM due))
RETURNING id, provider, operation, payload, failures, asked, not_found, doubted_at, deadline_at, now() AS at
