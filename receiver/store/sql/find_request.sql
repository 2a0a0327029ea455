-- One request by its id.
SELECT id, provider, operation, payload, metadata, status, detail, created_at, due_at, deadline_at, finished_at
FROM requests WHERE id = %(id)s
