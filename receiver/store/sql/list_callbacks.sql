-- Callbacks, the newest first, from the cursor on; each provider and verdict is read by itself, see list_jobs.
SELECT callback.id, callback.provider, received_at, callback.verdict, method, errors
FROM (
    SELECT found.id, found.place
    FROM providers_with_callbacks AS known
    CROSS JOIN unnest(%(verdicts)s::text[]) AS wanted(verdict)
    CROSS JOIN LATERAL (
        SELECT id, received_at AS place
        FROM callbacks
        WHERE provider = known.provider AND verdict = wanted.verdict
            AND (%(before)s::timestamptz IS NULL OR (received_at, id) < (%(before)s, %(before_id)s::uuid))
            AND (%(received_from)s::timestamptz IS NULL OR received_at >= %(received_from)s)
            AND (%(received_to)s::timestamptz IS NULL OR received_at < %(received_to)s)
        ORDER BY received_at DESC, id DESC LIMIT %(limit)s
    ) AS found
    WHERE %(providers)s::text[] IS NULL OR known.provider = ANY(%(providers)s::text[])
    ORDER BY place DESC, id DESC LIMIT %(limit)s
) AS page JOIN callbacks AS callback ON callback.id = page.id
ORDER BY place DESC, callback.id DESC
