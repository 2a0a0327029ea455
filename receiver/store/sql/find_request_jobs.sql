-- Return a request's jobs in order of acceptance, at most `limit` jobs; null means all jobs.
SELECT id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at
FROM jobs WHERE request_id = %(id)s ORDER BY accepted_at, id LIMIT %(limit)s::bigint
