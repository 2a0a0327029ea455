-- name: take_outbox
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

-- name: find_pending_notifications
-- Return those of the requests that are finished in a way that was not notified yet: with a final status of their own,
-- or accepted with only final jobs and without a reference conflict. The digest covers the request's status and end and the statuses of its jobs.
-- Execute it after `take_outbox` and as a separate statement, so that it sees everything that was committed before the
-- requests were locked.
SELECT requests.id, notify_url, outcome.jobs, outcome.digest, statement_timestamp() AS read_at
FROM requests CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, bool_and(jobs.finished_at IS NOT NULL) AS all_final,
        sha256(convert_to(concat_ws(' ', requests.status, extract(epoch FROM requests.finished_at),
            string_agg(concat_ws(' ', jobs.id, jobs.status, jobs.disputed), ' ' ORDER BY jobs.id)), 'UTF8')) AS digest
    FROM jobs WHERE jobs.request_id = requests.id
) AS outcome
WHERE requests.id = ANY(%(ids)s) AND notify_url IS NOT NULL
    AND (requests.finished_at IS NOT NULL OR requests.status = 'accepted' AND conflict_deadline_at IS NULL AND outcome.all_final)
    AND last_notified_digest IS DISTINCT FROM outcome.digest
ORDER BY requests.id

-- name: save_notified
-- Store which final state of each request was notified last.
UPDATE requests SET last_notified_digest = input.digest
FROM unnest(%(ids)s::uuid[], %(digests)s::bytea[]) AS input(id, digest)
WHERE requests.id = input.id AND requests.id = ANY(%(ids)s::uuid[])
