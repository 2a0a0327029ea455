-- Claim an idempotency key; a twin that is under way is waited for. Gives no row when the key is known.
INSERT INTO idempotency_keys (client, key, fingerprint, created_at)
VALUES (%(client)s, %(key)s, %(fingerprint)s, now())
ON CONFLICT (client, key) DO NOTHING
RETURNING true
