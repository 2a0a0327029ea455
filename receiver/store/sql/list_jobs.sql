-- Jobs from the cursor on, those accepted last first, or those that ended last if `by_end`. Each provider and status is
-- read by itself from the index that the filters call for, no further than the page is long; of what is found, the
-- newest are the page. Parameters that are null ask for nothing; not to be prepared, so that they vanish from the plan.
SELECT job.id, job.provider, reference, request_id, job.status, disputed, accepted_at, finished_at, deadline_at
FROM (
    SELECT found.id, found.place
    FROM providers_with_jobs AS known
    CROSS JOIN unnest(%(statuses)s::text[]) AS wanted(status)
    CROSS JOIN LATERAL (
        SELECT id, place
        FROM (SELECT *, CASE WHEN %(by_end)s::boolean THEN finished_at ELSE accepted_at END AS place FROM jobs) AS job
        WHERE provider = known.provider AND status = wanted.status AND place IS NOT NULL
            AND (%(before)s::timestamptz IS NULL OR (place, id) < (%(before)s, %(before_id)s::uuid))
            -- no job ends before it is accepted
            AND (%(accepted_from)s::timestamptz IS NULL OR accepted_at >= %(accepted_from)s
                AND place >= %(accepted_from)s)
            AND (%(accepted_to)s::timestamptz IS NULL OR accepted_at < %(accepted_to)s)
            AND (%(finished_from)s::timestamptz IS NULL OR finished_at >= %(finished_from)s)
            AND (%(finished_to)s::timestamptz IS NULL OR finished_at < %(finished_to)s)
            AND (%(disputed)s::boolean IS NULL OR disputed = %(disputed)s)
            AND (%(unmatched)s::boolean IS NULL OR (request_id IS NULL) = %(unmatched)s)
        ORDER BY place DESC, id DESC LIMIT %(limit)s
    ) AS found
    WHERE %(providers)s::text[] IS NULL OR known.provider = ANY(%(providers)s::text[])
    ORDER BY place DESC, id DESC LIMIT %(limit)s
) AS page JOIN jobs AS job ON job.id = page.id
ORDER BY place DESC, job.id DESC
