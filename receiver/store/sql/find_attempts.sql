-- Return a request's attempts, oldest first.
SELECT number, started_at, finished_at, response_status, error FROM attempts WHERE request_id = %(id)s ORDER BY number
