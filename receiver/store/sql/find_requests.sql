-- Return the requests with these ids in order of submission.
SELECT id, provider, operation, payload, metadata, status, detail, created_at, due_at, deadline_at, finished_at,
    notify_url
FROM requests WHERE id = ANY(%(ids)s) ORDER BY created_at, id
