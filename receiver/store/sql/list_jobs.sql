-- Jobs, the newest accepted first, from the cursor on. Each provider and status is read by itself from the index that
-- the filters call for, no further than the page is long, and the findings are merged. Parameters that are null ask
-- for nothing; not to be prepared, so that they vanish from the plan.
WITH RECURSIVE known AS (
    (SELECT provider FROM jobs ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT next.provider FROM known CROSS JOIN LATERAL (
        SELECT provider FROM jobs WHERE provider > known.provider ORDER BY provider LIMIT 1) AS next
)
SELECT found.* FROM known CROSS JOIN unnest(%(statuses)s::text[]) AS wanted(status) CROSS JOIN LATERAL (
    SELECT id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at
    FROM jobs
    WHERE provider = known.provider AND status = wanted.status
        AND (%(before)s::timestamptz IS NULL OR (accepted_at, id) < (%(before)s, %(before_id)s::uuid))
        AND (%(accepted_from)s::timestamptz IS NULL OR accepted_at >= %(accepted_from)s)
        AND (%(accepted_to)s::timestamptz IS NULL OR accepted_at < %(accepted_to)s)
        AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s::uuid[]))
        AND (%(request_id)s::uuid IS NULL OR request_id = %(request_id)s)
        AND (%(disputed)s::boolean IS NULL OR disputed = %(disputed)s)
        AND (%(unmatched)s::boolean IS NULL OR (request_id IS NULL) = %(unmatched)s)
    ORDER BY accepted_at DESC, id DESC LIMIT %(limit)s
) AS found
WHERE %(providers)s::text[] IS NULL OR known.provider = ANY(%(providers)s::text[])
ORDER BY accepted_at DESC, id DESC LIMIT %(limit)s
