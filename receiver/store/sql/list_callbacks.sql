-- Callbacks, the newest first, from the cursor on; each provider and verdict is read by itself, see list_jobs.
WITH RECURSIVE known AS (
    (SELECT provider FROM callbacks ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT next.provider FROM known CROSS JOIN LATERAL (
        SELECT provider FROM callbacks WHERE provider > known.provider ORDER BY provider LIMIT 1) AS next
)
SELECT found.* FROM known CROSS JOIN unnest(%(verdicts)s::text[]) AS wanted(verdict) CROSS JOIN LATERAL (
    SELECT id, provider, received_at, verdict, method, errors
    FROM callbacks
    WHERE provider = known.provider AND verdict = wanted.verdict
        AND (%(before)s::timestamptz IS NULL OR (received_at, id) < (%(before)s, %(before_id)s::uuid))
        AND (%(received_from)s::timestamptz IS NULL OR received_at >= %(received_from)s)
        AND (%(received_to)s::timestamptz IS NULL OR received_at < %(received_to)s)
    ORDER BY received_at DESC, id DESC LIMIT %(limit)s
) AS found
WHERE %(providers)s::text[] IS NULL OR known.provider = ANY(%(providers)s::text[])
ORDER BY received_at DESC, id DESC LIMIT %(limit)s
