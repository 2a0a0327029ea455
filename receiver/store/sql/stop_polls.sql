-- Stop polling final jobs.
UPDATE jobs SET poll_at = NULL WHERE id = ANY(%(ids)s) AND status IN ('succeeded', 'failed')
