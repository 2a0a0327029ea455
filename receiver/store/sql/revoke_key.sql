-- Revoke an API key. The time of the first revocation is kept.
UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL
