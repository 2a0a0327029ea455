-- Return the next callbacks of a provider with a verdict that were received before a time, oldest first.
SELECT received_at, id FROM callbacks
WHERE provider = %(provider)s AND verdict = %(verdict)s AND received_at < %(before)s
    AND (received_at, id) > (%(after)s, %(after_id)s)
ORDER BY received_at, id LIMIT %(limit)s
