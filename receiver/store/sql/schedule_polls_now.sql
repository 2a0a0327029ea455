-- Make open jobs due to be asked about now, those that were given up included.
UPDATE jobs SET poll_at = least(poll_at, now()) WHERE id = ANY(%(ids)s) AND finished_at IS NULL
