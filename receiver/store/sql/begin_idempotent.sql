-- Claim an idempotency key; a twin that is under way is waited for. Gives no row when the key is known.
INSERT INTO idempotency_keys (owner_id, key, fingerprint, created_at)
VALUES (%(owner_id)s, %(key)s, %(fingerprint)s, now())
ON CONFLICT (owner_id, key) DO NOTHING
RETURNING true
