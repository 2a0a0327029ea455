-- Record what providers said of unknown requests: settle them, or set when to ask again, in seconds from now; null ends
-- the asking. A request is moved only while it is unknown and nobody else has asked since. All are locked, sorted,
-- whether they are moved or not. What was settled is noted for those who want to be told. Gives those that were moved.
WITH told AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(results)s::jsonb) AS t(
        id uuid, lookup_count integer, unknown_since timestamptz, status text, detail text, next_in double precision,
        absent boolean)
),
locked AS MATERIALIZED (
    SELECT told.* FROM told JOIN requests USING (id)
    WHERE requests.id = ANY(ARRAY(SELECT told.id FROM told))
    ORDER BY requests.id FOR NO KEY UPDATE OF requests
),
moved AS (
    UPDATE requests SET
        status = locked.status,
        detail = concat_ws('; ', requests.detail, locked.detail),
        next_lookup_at = CASE WHEN locked.status = 'unknown' THEN now() + make_interval(secs => next_in) END,
        due_at = CASE WHEN locked.status = 'queued' THEN now() END,
        finished_at = CASE WHEN locked.status IN ('completed', 'rejected', 'failed') THEN now() END,
        not_found = requests.not_found + absent::integer
    FROM locked
    WHERE requests.id = locked.id AND requests.id = ANY(ARRAY(SELECT told.id FROM told))
        AND requests.status = 'unknown' AND requests.lookup_count = locked.lookup_count AND requests.unknown_since = locked.unknown_since
    RETURNING requests.id, requests.notify_url, requests.status
),
noted AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM moved WHERE notify_url IS NOT NULL AND status NOT IN ('unknown', 'queued')
)
SELECT id FROM moved
