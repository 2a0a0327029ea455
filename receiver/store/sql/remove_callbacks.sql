-- Remove callbacks that no event names, with what operators did to them. One that was repeated since a time stays, as
-- its repetitions are known by it and have no other body. What somebody else holds is passed by.
WITH held AS MATERIALIZED (
    SELECT id FROM callbacks
    WHERE id = ANY(%(ids)s) AND received_at < %(before)s
        AND NOT EXISTS (SELECT FROM events WHERE callback_id = callbacks.id)
        AND (verdict IN ('duplicate', 'refused') OR NOT EXISTS (
            SELECT FROM callbacks AS repeated WHERE repeated.identity = callbacks.identity
                AND repeated.verdict = 'duplicate' AND repeated.received_at >= %(before)s))
    FOR UPDATE SKIP LOCKED
),
undone AS (
    DELETE FROM actions WHERE subject IN (SELECT id::text FROM held)
),
unheard AS (
    DELETE FROM callbacks WHERE id = ANY(ARRAY(SELECT held.id FROM held)) RETURNING id
)
SELECT 0 AS requests, 0 AS jobs, 0 AS events, (SELECT count(*) FROM unheard) AS callbacks, 0 AS idempotency_keys
