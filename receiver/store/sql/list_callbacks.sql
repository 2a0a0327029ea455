-- Return a page of callbacks, newest first. Each provider and verdict is read separately, see list_jobs.
SELECT callback.id, callback.provider, received_at, callback.verdict, method, errors
FROM (
    SELECT item.id, item.sort_time
    FROM providers_with_callbacks AS source
    CROSS JOIN unnest(%(verdicts)s::text[]) AS candidate(verdict)
    CROSS JOIN LATERAL (
        SELECT id, received_at AS sort_time
        FROM callbacks
        WHERE provider = source.provider AND verdict = candidate.verdict
            AND (%(before)s::timestamptz IS NULL OR (received_at, id) < (%(before)s, %(before_id)s::uuid))
            AND (%(received_from)s::timestamptz IS NULL OR received_at >= %(received_from)s)
            AND (%(received_to)s::timestamptz IS NULL OR received_at < %(received_to)s)
        ORDER BY received_at DESC, id DESC LIMIT %(limit)s
    ) AS item
    WHERE %(providers)s::text[] IS NULL OR source.provider = ANY(%(providers)s::text[])
    ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
) AS page JOIN callbacks AS callback ON callback.id = page.id
ORDER BY sort_time DESC, callback.id DESC
