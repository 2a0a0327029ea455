-- Return all events of jobs in order of receipt.
SELECT events.job_id, key, provider, reference, source, events.status, events.precedence, received_at, position,
    deadline_at, provider_status, code, detail, occurred_at, callback_id, events.request_id, actor
FROM events JOIN jobs ON jobs.id = events.job_id
WHERE events.job_id = ANY(%(ids)s) ORDER BY received_at, position, key
