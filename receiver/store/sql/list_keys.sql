-- Return a page of API keys, newest first.
SELECT id, client, name, prefix, scopes, providers, per_minute, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE %(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::uuid)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
