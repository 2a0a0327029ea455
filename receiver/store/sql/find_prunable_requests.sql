-- Return the next requests of an operation with a final status, in order of creation, and whether each finished before
-- a time.
SELECT created_at, id, finished_at < %(before)s AS prunable FROM requests
WHERE provider = %(provider)s AND operation = %(operation)s AND status = %(status)s AND created_at < %(before)s
    AND (created_at, id) > (%(after)s, %(after_id)s)
ORDER BY created_at, id LIMIT %(limit)s
