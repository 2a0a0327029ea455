-- Requests, the newest first, from the cursor on; each provider, operation and status is read by itself, see list_jobs.
WITH RECURSIVE known AS (
    (SELECT provider, operation FROM requests ORDER BY provider, operation LIMIT 1)
    UNION ALL
    SELECT next.provider, next.operation FROM known CROSS JOIN LATERAL (
        SELECT provider, operation FROM requests WHERE (provider, operation) > (known.provider, known.operation)
        ORDER BY provider, operation LIMIT 1) AS next
)
SELECT found.* FROM known CROSS JOIN unnest(%(statuses)s::text[]) AS wanted(status) CROSS JOIN LATERAL (
    SELECT id, provider, operation, payload, metadata, status, detail, created_at, due_at, deadline_at, finished_at
    FROM requests
    WHERE provider = known.provider AND operation = known.operation AND status = wanted.status
        AND (%(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::uuid))
        AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
        AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s)
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s
) AS found
WHERE (%(providers)s::text[] IS NULL OR known.provider = ANY(%(providers)s::text[]))
    AND (%(operation)s::text IS NULL OR known.operation = %(operation)s)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
