-- Return the next idempotency keys in order of client and key, and whether each was used before a time.
SELECT client, key, created_at < %(before)s AS prunable FROM idempotency_keys
WHERE (client, key) > (%(client)s, %(key)s)
ORDER BY client, key LIMIT %(limit)s
