-- Lease unknown requests that are due for a lookup, for each provider at most its free capacity. The end of the lease
-- is the time of the next lookup, should this worker die; the result of this lookup replaces it. See `open_capacities`
-- for the providers that are skipped.
WITH due_requests AS (
    SELECT request.id FROM open_capacities(%(capacities)s::jsonb) AS capacity CROSS JOIN LATERAL (
        SELECT id FROM requests WHERE provider = capacity.provider AND next_lookup_at <= now()
        ORDER BY next_lookup_at LIMIT capacity.free
        FOR UPDATE SKIP LOCKED
    ) AS request
)
UPDATE requests SET next_lookup_at = now() + make_interval(secs => %(lease)s), lookup_count = lookup_count + 1
WHERE id = ANY(ARRAY(SELECT due_requests.id FROM due_requests))
RETURNING id, provider, operation, payload, failures, lookup_count, not_found, unknown_since, deadline_at,
    notify_url IS NOT NULL AS notify, now() AS at
