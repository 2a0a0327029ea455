-- Let a key be good no longer; the first revocation stands.
UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL
