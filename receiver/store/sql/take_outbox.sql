-- Take the oldest notification_outbox, with a lock on the requests that they are of; gives these requests' ids. What another has
-- locked is passed over and stays; a notice of a request that is gone is dropped.
WITH due AS MATERIALIZED (
    SELECT id, request_id FROM notification_outbox ORDER BY id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
known AS MATERIALIZED (
    SELECT id FROM requests WHERE id = ANY(ARRAY(SELECT request_id FROM due))
),
locked AS MATERIALIZED (
    SELECT id FROM requests WHERE id = ANY(ARRAY(SELECT request_id FROM due))
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
DELETE FROM notification_outbox USING due
WHERE notification_outbox.id = due.id AND (
    due.request_id IN (SELECT id FROM locked)
    OR due.request_id NOT IN (SELECT id FROM known))
RETURNING due.request_id
