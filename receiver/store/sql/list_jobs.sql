-- Return a page of jobs, newest first by `accepted_at` or, with `by_finished_at`, by `finished_at`. Each provider and
-- status is read separately, along the index that suits the filters and no further than one page; the newest of these
-- rows are the page. A filter that is null is not applied. Do not prepare the statement, so that the plan contains only
-- the filters in use.
SELECT job.id, job.provider, reference, request_id, job.status, disputed, accepted_at, finished_at, deadline_at
FROM (
    SELECT item.id, item.sort_time
    FROM providers_with_jobs AS source
    CROSS JOIN unnest(%(statuses)s::text[]) AS candidate(status)
    CROSS JOIN LATERAL (
        SELECT id, sort_time
        FROM (
            SELECT *, CASE WHEN %(by_finished_at)s::boolean THEN finished_at ELSE accepted_at END AS sort_time FROM jobs
        ) AS job
        WHERE provider = source.provider AND status = candidate.status AND sort_time IS NOT NULL
            AND (%(before)s::timestamptz IS NULL OR (sort_time, id) < (%(before)s, %(before_id)s::uuid))
            -- a job never finishes before it is accepted, so that the index can skip earlier rows in both orders
            AND (%(accepted_from)s::timestamptz IS NULL OR accepted_at >= %(accepted_from)s
                AND sort_time >= %(accepted_from)s)
            AND (%(accepted_to)s::timestamptz IS NULL OR accepted_at < %(accepted_to)s)
            AND (%(finished_from)s::timestamptz IS NULL OR finished_at >= %(finished_from)s)
            AND (%(finished_to)s::timestamptz IS NULL OR finished_at < %(finished_to)s)
            AND (%(disputed)s::boolean IS NULL OR disputed = %(disputed)s)
            AND (%(unmatched)s::boolean IS NULL OR (request_id IS NULL) = %(unmatched)s)
        ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
    ) AS item
    WHERE %(providers)s::text[] IS NULL OR source.provider = ANY(%(providers)s::text[])
    ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
) AS page JOIN jobs AS job ON job.id = page.id
ORDER BY sort_time DESC, job.id DESC
