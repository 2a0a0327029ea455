-- name: save_nonces
-- Store the nonces that are not stored yet. Return each with the digest of the callback that used it first.
--
-- A transaction that stores the same nonce at the same time is waited for. The input names each nonce once and is
-- sorted, so that rows are locked in one global order.
INSERT INTO nonces AS nonce (provider, id, digest, used_at)
SELECT provider, id, digest, used_at
FROM jsonb_to_recordset(%(nonces)s::jsonb) AS input(provider text, id uuid, digest uuid, used_at timestamptz)
ORDER BY provider, id
ON CONFLICT (provider, id) DO UPDATE SET used_at = greatest(nonce.used_at, excluded.used_at)
RETURNING provider, id, digest

-- name: find_prunable_nonces
-- Return the next nonces in order of provider and id, and whether each was last used before a time.
SELECT provider, id, used_at < %(before)s AS prunable FROM nonces
WHERE (provider, id) > (%(provider)s, %(id)s)
ORDER BY provider, id LIMIT %(limit)s

-- name: remove_nonces
-- Delete nonces that were last used before a time. Rows that another transaction has locked are skipped.
WITH locked_nonces AS MATERIALIZED (
    SELECT provider, id
    FROM nonces JOIN jsonb_to_recordset(%(nonces)s::jsonb) AS input(provider text, id uuid) USING (provider, id)
    WHERE used_at < %(before)s
    FOR UPDATE OF nonces SKIP LOCKED
),
deleted_nonces AS (
    DELETE FROM nonces USING locked_nonces
    WHERE nonces.provider = locked_nonces.provider AND nonces.id = locked_nonces.id
    RETURNING nonces.id
)
SELECT 0 AS requests, 0 AS jobs, 0 AS events, 0 AS callbacks, 0 AS idempotency_keys,
    (SELECT count(*) FROM deleted_nonces) AS nonces
