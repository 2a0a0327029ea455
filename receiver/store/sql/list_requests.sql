-- Return a page of requests, newest first. Each provider, operation and status is read separately, see list_jobs.
SELECT request.id, request.provider, request.operation, payload, metadata, request.status, detail, created_at, due_at,
    deadline_at, finished_at, notify_url
FROM (
    SELECT item.id, item.sort_time
    FROM operations_with_requests AS source
    CROSS JOIN unnest(%(statuses)s::text[]) AS candidate(status)
    CROSS JOIN LATERAL (
        SELECT id, created_at AS sort_time
        FROM requests
        WHERE provider = source.provider AND operation = source.operation AND status = candidate.status
            AND (%(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::uuid))
            AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
            AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s)
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    ) AS item
    WHERE (%(providers)s::text[] IS NULL OR source.provider = ANY(%(providers)s::text[]))
        AND (%(operation)s::text IS NULL OR source.operation = %(operation)s)
    ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
) AS page JOIN requests AS request ON request.id = page.id
ORDER BY sort_time DESC, request.id DESC
