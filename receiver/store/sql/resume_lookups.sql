-- Have providers asked about requests that became unknown when they could not be asked yet. `lookup_delays` holds, for each
-- provider that can be now, in how many seconds.
UPDATE requests SET
    next_lookup_at = now() + make_interval(secs => (%(lookup_delays)s::jsonb ->> provider)::double precision),
    unknown_since = now(),
    detail = concat_ws('; ', detail, 'its provider is asked about it')
WHERE id = ANY(ARRAY(
    SELECT requests.id
    FROM operations_with_requests AS known JOIN requests USING (provider, operation)
    WHERE %(lookup_delays)s::jsonb ? known.provider AND status = 'unknown' AND next_lookup_at IS NULL AND lookup_count = 0
    FOR UPDATE OF requests SKIP LOCKED))
