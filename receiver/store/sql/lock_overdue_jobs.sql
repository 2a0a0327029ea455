-- Lock and return open jobs whose deadline has passed. The rows stay locked until the `deadline` events are recorded.
SELECT id, provider, reference, deadline_at FROM jobs
WHERE status IN ('accepted', 'in_progress') AND deadline_at <= now()
ORDER BY deadline_at LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
