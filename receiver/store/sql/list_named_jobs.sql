-- Return a page of the jobs with certain ids or of one request, as list_jobs does. There are few of them, so that all
-- are read.
SELECT id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at
FROM (
    SELECT *, CASE WHEN %(by_finished_at)s::boolean THEN finished_at ELSE accepted_at END AS sort_time FROM jobs
) AS job
WHERE status = ANY(%(statuses)s::text[]) AND sort_time IS NOT NULL
    AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s::uuid[]))
    AND (%(request_id)s::uuid IS NULL OR request_id = %(request_id)s)
    AND (%(providers)s::text[] IS NULL OR provider = ANY(%(providers)s::text[]))
    AND (%(before)s::timestamptz IS NULL OR (sort_time, id) < (%(before)s, %(before_id)s::uuid))
    AND (%(accepted_from)s::timestamptz IS NULL OR accepted_at >= %(accepted_from)s)
    AND (%(accepted_to)s::timestamptz IS NULL OR accepted_at < %(accepted_to)s)
    AND (%(finished_from)s::timestamptz IS NULL OR finished_at >= %(finished_from)s)
    AND (%(finished_to)s::timestamptz IS NULL OR finished_at < %(finished_to)s)
    AND (%(disputed)s::boolean IS NULL OR disputed = %(disputed)s)
    AND (%(unmatched)s::boolean IS NULL OR (request_id IS NULL) = %(unmatched)s)
ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
