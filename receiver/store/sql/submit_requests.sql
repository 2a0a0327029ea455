-- Queue requests; all of them or none. Times come from the database's clock, delays in seconds.
INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, due_at, deadline_at)
SELECT id, provider, operation, payload, metadata, 'queued', now(), greatest(due_at, now()),
    coalesce(deadline_at, greatest(due_at, now()) + make_interval(secs => deadline_after))
FROM jsonb_to_recordset(%(requests)s::jsonb) AS r(
    id uuid, provider text, operation text, payload jsonb, metadata jsonb, due_at timestamptz,
    deadline_at timestamptz, deadline_after double precision)
RETURNING id
