-- Of the jobs that somebody waits for, those that are final; and those that are asked for as they are.
SELECT id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at
FROM jobs WHERE id = ANY(%(waited)s) AND finished_at IS NOT NULL OR id = ANY(%(asked)s)
