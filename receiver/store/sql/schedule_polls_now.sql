-- Make open jobs due for a poll now, including jobs that are not polled any more.
UPDATE jobs SET poll_at = least(poll_at, now()) WHERE id = ANY(%(ids)s) AND finished_at IS NULL
