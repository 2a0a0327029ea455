-- Delete the oldest rows of the outbox, lock the requests they refer to and return these requests' ids. Rows that
-- another transaction has locked, or whose requests it has locked, are skipped and stay. Rows of requests that no
-- longer exist are deleted too.
WITH due_rows AS MATERIALIZED (
    SELECT id, request_id FROM notification_outbox ORDER BY id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
existing_requests AS MATERIALIZED (
    SELECT id FROM requests WHERE id = ANY(ARRAY(SELECT request_id FROM due_rows))
),
locked_requests AS MATERIALIZED (
    SELECT id FROM requests WHERE id = ANY(ARRAY(SELECT request_id FROM due_rows))
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
DELETE FROM notification_outbox USING due_rows
WHERE notification_outbox.id = due_rows.id AND (
    due_rows.request_id IN (SELECT id FROM locked_requests)
    OR due_rows.request_id NOT IN (SELECT id FROM existing_requests))
RETURNING due_rows.request_id
