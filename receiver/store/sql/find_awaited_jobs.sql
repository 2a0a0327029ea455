-- Return those of the jobs `awaited` that are final, and the jobs `requested` whatever their status.
SELECT id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at
FROM jobs WHERE id = ANY(%(awaited)s) AND finished_at IS NOT NULL OR id = ANY(%(requested)s)
