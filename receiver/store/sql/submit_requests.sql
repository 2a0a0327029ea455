-- Queue requests; all of them or none. Times come from the database's clock, delays in seconds. Of the metadata, what
-- is no object or list and short enough is what requests can be found by.
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(requests)s::jsonb) AS r(
        id uuid, provider text, operation text, payload jsonb, metadata jsonb, due_at timestamptz,
        deadline_at timestamptz, deadline_after double precision, notify_url text, client text)
),
queued AS (
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, due_at, deadline_at,
        notify_url, client)
    SELECT id, provider, operation, payload, metadata, 'queued', now(), greatest(due_at, now()),
        coalesce(deadline_at, greatest(due_at, now()) + make_interval(secs => deadline_after)), notify_url, client
    FROM given
)
INSERT INTO request_metadata (key, value, created_at, request_id)
SELECT key, value #>> '{}', now(), id FROM given CROSS JOIN LATERAL jsonb_each(metadata)
WHERE jsonb_typeof(value) IN ('string', 'number', 'boolean')
    AND length(key) <= %(longest_key)s AND length(value #>> '{}') <= %(longest_value)s
