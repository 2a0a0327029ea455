-- Lease unknown requests that their providers are due to be asked about, at most each provider's free capacity. The
-- lease is the next time to ask, should this worker die; the answer replaces it. See `open_capacities` for who is passed over.
WITH due AS (
    SELECT found.id FROM open_capacities(%(capacities)s::jsonb) AS capacity CROSS JOIN LATERAL (
        SELECT id FROM requests WHERE provider = capacity.provider AND next_lookup_at <= now()
        ORDER BY next_lookup_at LIMIT capacity.free
        FOR UPDATE SKIP LOCKED
    ) AS found
)
UPDATE requests SET next_lookup_at = now() + make_interval(secs => %(lease)s), lookup_count = lookup_count + 1
WHERE id = ANY(ARRAY(SELECT due.id FROM due))
RETURNING id, provider, operation, payload, failures, lookup_count, not_found, unknown_since, deadline_at,
    notify_url IS NOT NULL AS notify, now() AS at
