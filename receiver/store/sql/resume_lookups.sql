-- Have providers asked about requests that became unknown when they could not be asked yet. `asking` holds, for each
-- provider that can be now, in how many seconds.
UPDATE requests SET
    ask_at = now() + make_interval(secs => (%(asking)s::jsonb ->> provider)::double precision),
    doubted_at = now(),
    detail = concat_ws('; ', detail, 'its provider is asked about it')
WHERE id = ANY(ARRAY(
    SELECT requests.id
    FROM operations_with_requests AS known JOIN requests USING (provider, operation)
    WHERE %(asking)s::jsonb ? known.provider AND status = 'unknown' AND ask_at IS NULL AND asked = 0
    FOR UPDATE OF requests SKIP LOCKED))
