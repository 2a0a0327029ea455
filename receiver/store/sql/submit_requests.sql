-- Insert queued requests, all of them or none. Times are by the database's clock, delays in seconds. Requests can be
-- found by those metadata values that are texts, numbers or booleans and not too long.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(requests)s::jsonb) AS request(
        id uuid, provider text, operation text, payload jsonb, metadata jsonb, due_at timestamptz,
        deadline_at timestamptz, deadline_after double precision, notify_url text, client text)
),
inserted_requests AS (
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, due_at, deadline_at,
        notify_url, client)
    SELECT id, provider, operation, payload, metadata, 'queued', now(), greatest(due_at, now()),
        coalesce(deadline_at, greatest(due_at, now()) + make_interval(secs => deadline_after)), notify_url, client
    FROM input
)
INSERT INTO request_metadata (key, value, created_at, request_id)
SELECT key, value #>> '{}', now(), id FROM input CROSS JOIN LATERAL jsonb_each(metadata)
WHERE jsonb_typeof(value) IN ('string', 'number', 'boolean')
    AND length(key) <= %(max_key_length)s AND length(value #>> '{}') <= %(max_value_length)s
