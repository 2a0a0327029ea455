-- The next idempotency keys by owner and key; those used before a time may go.
SELECT client, key, created_at < %(before)s AS old FROM idempotency_keys
WHERE (client, key) > (%(client)s, %(key)s)
ORDER BY client, key LIMIT %(limit)s
