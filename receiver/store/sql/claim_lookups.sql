-- Lease unknown requests that their providers are due to be asked about, at most each provider's free capacity. The
-- lease is the next time to ask, should this worker die; the answer replaces it. See `open_lanes` for who is passed over.
WITH due AS (
    SELECT found.id FROM open_lanes(%(lanes)s::jsonb) AS lane CROSS JOIN LATERAL (
        SELECT id FROM requests WHERE provider = lane.provider AND ask_at <= now()
        ORDER BY ask_at LIMIT lane.capacity
        FOR UPDATE SKIP LOCKED
    ) AS found
)
UPDATE requests SET ask_at = now() + make_interval(secs => %(lease)s), asked = asked + 1
WHERE id = ANY(ARRAY(SELECT due.id FROM due))
RETURNING id, provider, operation, payload, failures, asked, not_found, doubted_at, deadline_at,
    notify_url IS NOT NULL AS notify, now() AS at
