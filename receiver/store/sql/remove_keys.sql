-- Delete idempotency keys that were used before a time and whose requests have all been removed; the stored response
-- names the requests. Rows that another transaction has locked are skipped.
WITH locked_keys AS MATERIALIZED (
    SELECT client, key
    FROM idempotency_keys JOIN jsonb_to_recordset(%(keys)s::jsonb) AS input(client text, key text) USING (client, key)
    WHERE created_at < %(before)s
    FOR UPDATE OF idempotency_keys SKIP LOCKED
),
-- Responses may be large: OFFSET 0 keeps the planner from inlining the expression and parsing each response twice.
unused_keys AS MATERIALIZED (
    SELECT client, key
    FROM locked_keys JOIN idempotency_keys USING (client, key)
        CROSS JOIN LATERAL (SELECT convert_from(response, 'UTF8')::jsonb AS body OFFSET 0) AS response
    WHERE NOT EXISTS (
        SELECT FROM requests WHERE id = ANY(ARRAY(
            SELECT (item ->> 'id')::uuid
            FROM jsonb_array_elements(coalesce(response.body -> 'items', jsonb_build_array(response.body))) AS item)))
),
deleted_keys AS (
    DELETE FROM idempotency_keys USING unused_keys
    WHERE idempotency_keys.client = unused_keys.client AND idempotency_keys.key = unused_keys.key
    RETURNING idempotency_keys.key
)
SELECT 0 AS requests, 0 AS jobs, 0 AS events, 0 AS callbacks, (SELECT count(*) FROM deleted_keys) AS idempotency_keys
