-- The key with this hash, if it is good now; that it was used is noted once a minute.
WITH good AS (
    SELECT id, client, name, scopes, providers, per_minute, last_used_at FROM api_keys
    WHERE hash = %(hash)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
),
noted AS (
    UPDATE api_keys SET last_used_at = now() FROM good
    WHERE api_keys.id = good.id AND (good.last_used_at IS NULL OR good.last_used_at < now() - interval '1 minute')
)
SELECT id, client, name, scopes, providers, per_minute FROM good
