-- Return one API key.
SELECT id, client, name, prefix, scopes, providers, per_minute, created_at, expires_at, revoked_at, last_used_at
FROM api_keys WHERE id = %(id)s
