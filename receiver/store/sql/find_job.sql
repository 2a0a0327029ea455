-- Return one job.
SELECT id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at
FROM jobs WHERE id = %(id)s
