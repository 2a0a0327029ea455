-- Return the active API key with this hash, and update its `last_used_at` at most once a minute.
WITH active_key AS (
    SELECT id, client, name, scopes, providers, per_minute, last_used_at FROM api_keys
    WHERE hash = %(hash)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
),
updated_key AS (
    UPDATE api_keys SET last_used_at = now() FROM active_key
    WHERE api_keys.id = active_key.id
        AND (active_key.last_used_at IS NULL OR active_key.last_used_at < now() - interval '1 minute')
)
SELECT id, client, name, scopes, providers, per_minute FROM active_key
