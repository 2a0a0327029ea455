-- Return the next jobs after an id, of one provider or of all providers, with every column that events determine.
SELECT id, provider, reference, request_id, status, precedence, disputed, decided_at, decided_position,
    decided_by, accepted_at, finished_at, poll_at
FROM jobs
WHERE id > %(after)s AND (%(provider)s::text IS NULL OR provider = %(provider)s)
ORDER BY id LIMIT %(limit)s
