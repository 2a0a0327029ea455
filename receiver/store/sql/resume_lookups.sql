-- Schedule lookups of requests that became unknown while their provider did not support lookups. `lookup_delays` holds,
-- for each provider that supports lookups now, the seconds until the first lookup.
UPDATE requests SET
    next_lookup_at = now() + make_interval(secs => (%(lookup_delays)s::jsonb ->> provider)::double precision),
    unknown_since = now(),
    detail = concat_ws('; ', detail, 'a lookup is scheduled')
WHERE id = ANY(ARRAY(
    SELECT requests.id
    FROM operations_with_requests AS source JOIN requests USING (provider, operation)
    WHERE %(lookup_delays)s::jsonb ? source.provider AND status = 'unknown' AND next_lookup_at IS NULL
        AND lookup_count = 0
    FOR UPDATE OF requests SKIP LOCKED))
