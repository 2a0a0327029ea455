-- Take open jobs whose deadline passed without a final word. The rows stay locked until the clock's word is recorded.
SELECT id, provider, reference, deadline_at FROM jobs
WHERE status IN ('accepted', 'in_progress') AND deadline_at <= now()
ORDER BY deadline_at LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
