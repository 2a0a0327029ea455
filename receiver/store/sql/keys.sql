-- name: create_key
-- Insert an API key, identified by its hash.
INSERT INTO api_keys (id, client, name, hash, prefix, scopes, providers, per_minute, created_at, expires_at)
VALUES (%(id)s, %(client)s, %(name)s, %(hash)s, %(prefix)s, %(scopes)s, %(providers)s, %(per_minute)s, now(),
    %(expires_at)s)

-- name: find_key
-- Return one API key.
SELECT id, client, name, prefix, scopes, providers, per_minute, created_at, expires_at, revoked_at, last_used_at
FROM api_keys WHERE id = %(id)s

-- name: list_keys
-- Return a page of API keys, newest first.
SELECT id, client, name, prefix, scopes, providers, per_minute, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE %(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::uuid)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s

-- name: revoke_key
-- Revoke an API key. The time of the first revocation is kept.
UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL

-- name: authenticate_key
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

-- name: find_active_caller
-- Return the active API key with this id.
SELECT id, client, name, scopes, providers, per_minute FROM api_keys
WHERE id = %(id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())

-- name: find_active_hashes
-- Return those of the hashes that are hashes of active API keys.
SELECT hash FROM api_keys
WHERE hash = ANY(%(hashes)s::bytea[]) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())

-- name: lease_tokens
-- Lease up to `count` calls of a key's rate limit in the current minute. Return the number of leased calls, the number
-- that is left for all processes, and the seconds until the next minute.
WITH leased_calls AS (
    INSERT INTO rate_limit_usage AS usage (key_id, minute, used, granted)
    VALUES (%(key_id)s, date_trunc('minute', now()), least(%(count)s, %(per_minute)s), least(%(count)s, %(per_minute)s))
    ON CONFLICT (key_id) DO UPDATE SET
        minute = greatest(usage.minute, excluded.minute),
        granted = CASE WHEN usage.minute >= excluded.minute
            THEN greatest(least(%(count)s, %(per_minute)s - usage.used), 0) ELSE excluded.granted END,
        used = CASE WHEN usage.minute >= excluded.minute
            THEN greatest(usage.used, least(usage.used + %(count)s, %(per_minute)s)) ELSE excluded.used END
    RETURNING minute, used, granted
)
SELECT granted, greatest(%(per_minute)s - used, 0) AS remaining,
    extract(epoch FROM minute + interval '1 minute' - now())::double precision AS resets_in
FROM leased_calls

-- name: reserve_idempotency_key
-- Reserve an idempotency key; wait for another transaction that is reserving it. Return no row if the key exists.
INSERT INTO idempotency_keys (client, key, fingerprint, created_at)
VALUES (%(client)s, %(key)s, %(fingerprint)s, now())
ON CONFLICT (client, key) DO NOTHING
RETURNING true

-- name: find_idempotent_response
-- Return the fingerprint of the request that used an idempotency key, and the response.
SELECT fingerprint, coalesce(status, 202) AS status, response, location FROM idempotency_keys WHERE client = %(client)s AND key = %(key)s

-- name: list_idempotent_responses
-- Return the responses to the calls of all clients, or of one, that used an idempotency key. Each client costs one index
-- lookup.
WITH RECURSIVE clients AS (
    (SELECT client FROM idempotency_keys WHERE %(client)s::text IS NULL ORDER BY client LIMIT 1)
    UNION ALL
    SELECT next.client FROM clients CROSS JOIN LATERAL (
        SELECT client FROM idempotency_keys WHERE client > clients.client ORDER BY client LIMIT 1) AS next
)
SELECT fingerprint, coalesce(status, 202) AS status, response, location
FROM (SELECT client FROM clients UNION ALL SELECT %(client)s WHERE %(client)s::text IS NOT NULL) AS source
JOIN idempotency_keys USING (client)
WHERE key = %(key)s
ORDER BY created_at DESC LIMIT %(limit)s

-- name: save_response
-- Store the response for repetitions of an idempotency key.
UPDATE idempotency_keys SET status = %(status)s, response = %(response)s, location = %(location)s
WHERE client = %(client)s AND key = %(key)s
