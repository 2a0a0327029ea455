-- The next requests of an operation with a status in which they are over, the earliest made first; those that ended
-- before a time can go.
SELECT created_at AS at, id, finished_at < %(before)s AS over FROM requests
WHERE provider = %(provider)s AND operation = %(operation)s AND status = %(status)s AND created_at < %(before)s
    AND (created_at, id) > (%(after)s, %(after_id)s)
ORDER BY created_at, id LIMIT %(limit)s
