-- Jobs to mend, locked in the global order: until the commit nothing that is said of them changes them.
SELECT id, provider, reference, request_id, status, precedence, disputed, decided_at, decided_position,
    decided_by, accepted_at, finished_at, poll_at
FROM jobs WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE
