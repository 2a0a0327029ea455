-- Requests, the newest first, from the cursor on; each provider, operation and status is read by itself, see list_jobs.
SELECT request.id, request.provider, request.operation, payload, metadata, request.status, detail, created_at, due_at,
    deadline_at, finished_at, notify_url
FROM (
    SELECT found.id, found.place
    FROM operations_with_requests AS known
    CROSS JOIN unnest(%(statuses)s::text[]) AS wanted(status)
    CROSS JOIN LATERAL (
        SELECT id, created_at AS place
        FROM requests
        WHERE provider = known.provider AND operation = known.operation AND status = wanted.status
            AND (%(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::uuid))
            AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
            AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s)
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    ) AS found
    WHERE (%(providers)s::text[] IS NULL OR known.provider = ANY(%(providers)s::text[]))
        AND (%(operation)s::text IS NULL OR known.operation = %(operation)s)
    ORDER BY place DESC, id DESC LIMIT %(limit)s
) AS page JOIN requests AS request ON request.id = page.id
ORDER BY place DESC, request.id DESC
