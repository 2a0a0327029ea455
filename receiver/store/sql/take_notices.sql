-- Take the oldest notices, with a lock on the requests that they are of; gives these requests' ids. What another has
-- locked is passed over and stays; a notice of a request that is gone is dropped.
WITH due AS MATERIALIZED (
    SELECT id, request_id FROM notices ORDER BY id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
locked AS MATERIALIZED (
    SELECT id FROM requests WHERE id = ANY(ARRAY(SELECT request_id FROM due))
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
DELETE FROM notices USING due
WHERE notices.id = due.id AND (
    due.request_id IN (SELECT id FROM locked)
    OR NOT EXISTS (SELECT FROM requests WHERE requests.id = due.request_id))
RETURNING due.request_id
