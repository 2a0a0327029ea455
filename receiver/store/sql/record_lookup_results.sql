-- Record the results of lookups: settle unknown requests, or schedule the next lookup in `next_in` seconds; null ends
-- the lookups. A request is updated only while it is unknown and no newer lookup was claimed. Lock all the requests in
-- the global order, whether they are updated or not. Insert a notification for each request that is settled. Return the
-- updated requests.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(results)s::jsonb) AS result(
        id uuid, lookup_count integer, unknown_since timestamptz, status text, detail text, next_in double precision,
        absent boolean)
),
locked_requests AS MATERIALIZED (
    SELECT input.* FROM input JOIN requests USING (id)
    WHERE requests.id = ANY(ARRAY(SELECT input.id FROM input))
    ORDER BY requests.id FOR NO KEY UPDATE OF requests
),
updated_requests AS (
    UPDATE requests SET
        status = result.status,
        detail = concat_ws('; ', requests.detail, result.detail),
        next_lookup_at = CASE WHEN result.status = 'unknown' THEN now() + make_interval(secs => next_in) END,
        due_at = CASE WHEN result.status = 'queued' THEN now() END,
        finished_at = CASE WHEN result.status IN ('completed', 'rejected', 'failed') THEN now() END,
        not_found = requests.not_found + absent::integer
    FROM locked_requests AS result
    WHERE requests.id = result.id AND requests.id = ANY(ARRAY(SELECT input.id FROM input))
        AND requests.status = 'unknown' AND requests.lookup_count = result.lookup_count
        AND requests.unknown_since = result.unknown_since
    RETURNING requests.id, requests.notify_url, requests.status
),
notifications AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM updated_requests WHERE notify_url IS NOT NULL AND status NOT IN ('unknown', 'queued')
)
SELECT id FROM updated_requests
