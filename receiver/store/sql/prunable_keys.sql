-- The next idempotency keys by owner and key; those used before a time may go.
SELECT owner_id, key, created_at < %(before)s AS old FROM idempotency_keys
WHERE (owner_id, key) > (%(owner_id)s, %(key)s)
ORDER BY owner_id, key LIMIT %(limit)s
