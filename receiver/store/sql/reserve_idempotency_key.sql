-- Reserve an idempotency key; wait for another transaction that is reserving it. Return no row if the key exists.
INSERT INTO idempotency_keys (client, key, fingerprint, created_at)
VALUES (%(client)s, %(key)s, %(fingerprint)s, now())
ON CONFLICT (client, key) DO NOTHING
RETURNING true
