-- A request's jobs, in the order in which they were accepted; all, or as many as are wanted.
SELECT id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at
FROM jobs WHERE request_id = %(id)s ORDER BY accepted_at, id LIMIT %(most)s::bigint
