-- Delete callbacks that no event refers to, and the actions on them. A callback with a duplicate that was received
-- since `before` stays, because its duplicates have no body of their own. Rows that another transaction has locked are
-- skipped.
WITH locked_callbacks AS MATERIALIZED (
    SELECT id FROM callbacks
    WHERE id = ANY(%(ids)s) AND received_at < %(before)s
        AND NOT EXISTS (SELECT FROM events WHERE callback_id = callbacks.id)
        AND (verdict IN ('duplicate', 'refused') OR NOT EXISTS (
            SELECT FROM callbacks AS duplicate WHERE duplicate.identity = callbacks.identity
                AND duplicate.verdict = 'duplicate' AND duplicate.received_at >= %(before)s))
    FOR UPDATE SKIP LOCKED
),
deleted_actions AS (
    DELETE FROM actions WHERE subject IN (SELECT id::text FROM locked_callbacks)
),
deleted_callbacks AS (
    DELETE FROM callbacks WHERE id = ANY(ARRAY(SELECT locked_callbacks.id FROM locked_callbacks)) RETURNING id
)
SELECT 0 AS requests, 0 AS jobs, 0 AS events, (SELECT count(*) FROM deleted_callbacks) AS callbacks,
    0 AS idempotency_keys
