-- Lock the jobs to repair in the global order and return them: no event changes them before the commit.
SELECT id, provider, reference, request_id, status, precedence, disputed, decided_at, decided_position,
    decided_by, accepted_at, finished_at, poll_at
FROM jobs WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE
