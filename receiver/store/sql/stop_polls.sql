-- Poll final jobs no more.
UPDATE jobs SET poll_at = NULL WHERE id = ANY(%(ids)s) AND status IN ('succeeded', 'failed')
