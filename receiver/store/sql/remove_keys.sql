-- Remove idempotency keys used before a time of whose requests none is kept any more: the answer that each keeps names
-- them. What somebody else holds is passed by.
WITH held AS MATERIALIZED (
    SELECT client, key
    FROM idempotency_keys JOIN jsonb_to_recordset(%(keys)s::jsonb) AS t(client text, key text) USING (client, key)
    WHERE created_at < %(before)s
    FOR UPDATE OF idempotency_keys SKIP LOCKED
),
-- answers may be large, so that each is read by itself
spent AS MATERIALIZED (
    SELECT client, key
    FROM held JOIN idempotency_keys USING (client, key)
        CROSS JOIN LATERAL (SELECT convert_from(response, 'UTF8')::jsonb AS response OFFSET 0) AS given
    WHERE NOT EXISTS (
        SELECT FROM requests WHERE id = ANY(ARRAY(
            SELECT (item ->> 'id')::uuid
            FROM jsonb_array_elements(coalesce(given.response -> 'items', jsonb_build_array(given.response))) AS item)))
),
unkept AS (
    DELETE FROM idempotency_keys USING spent
    WHERE idempotency_keys.client = spent.client AND idempotency_keys.key = spent.key
    RETURNING idempotency_keys.key
)
SELECT 0 AS requests, 0 AS jobs, 0 AS events, 0 AS callbacks, (SELECT count(*) FROM unkept) AS idempotency_keys
