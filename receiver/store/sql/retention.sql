-- name: lock_retention_progress
-- Insert the row of a provider and a kind of data if it is missing, and lock it, so that only one worker proceeds.
-- Return it unless another worker has locked it. A new row begins before all data.
WITH inserted_progress AS (
    INSERT INTO retention_progress (provider, kind, after, after_id)
    VALUES (%(provider)s, %(kind)s, '-infinity', '00000000-0000-0000-0000-000000000000')
    ON CONFLICT (provider, kind) DO NOTHING
    RETURNING after, after_id
),
locked_progress AS (
    SELECT after, after_id FROM retention_progress WHERE provider = %(provider)s AND kind = %(kind)s
    FOR UPDATE SKIP LOCKED
)
SELECT after::text, after_id FROM inserted_progress
UNION ALL
SELECT after::text, after_id FROM locked_progress

-- name: save_retention_progress
-- Store up to which row a provider's data has been examined.
UPDATE retention_progress SET after = %(after)s, after_id = %(after_id)s
WHERE provider = %(provider)s AND kind = %(kind)s

-- name: find_expiring_requests
-- Return the next requests of a provider that were created more than `seconds` ago, in order of creation. A request
-- that is still being committed was created `margin` seconds ago at most. Each operation and status is read separately,
-- see list_jobs.
WITH RECURSIVE source AS (
    (SELECT operation FROM requests WHERE provider = %(provider)s ORDER BY operation LIMIT 1)
    UNION ALL
    SELECT next.operation FROM source CROSS JOIN LATERAL (
        SELECT operation FROM requests WHERE provider = %(provider)s AND operation > source.operation
        ORDER BY operation LIMIT 1) AS next
)
SELECT item.created_at, item.id
FROM source CROSS JOIN unnest(%(statuses)s::text[]) AS candidate(status) CROSS JOIN LATERAL (
    SELECT created_at, id FROM requests
    WHERE provider = %(provider)s AND operation = source.operation AND status = candidate.status
        AND (created_at, id) > (%(after)s::timestamptz, %(after_id)s::uuid)
        AND created_at < now() - make_interval(secs => greatest(%(seconds)s, %(margin)s::double precision))
    ORDER BY created_at, id LIMIT %(limit)s
) AS item
ORDER BY created_at, id LIMIT %(limit)s

-- name: queue_expiring_requests
-- Insert requests into the queue, due now.
INSERT INTO retention_queue (kind, request_id, provider, check_at)
SELECT %(kind)s, id, %(provider)s, now() FROM unnest(%(ids)s::uuid[]) AS input(id)
ON CONFLICT (kind, request_id) DO NOTHING

-- name: take_expired_requests
-- Take from the queue the requests that were finished at least `seconds` ago: lock them and return their ids. An
-- accepted request is finished when its last job is. Requests that no longer exist are taken too, those that another
-- transaction has locked stay.
--
-- A request that is not finished is examined again once it is an eighth older, after an hour at most.
WITH due_rows AS MATERIALIZED (
    SELECT request_id FROM retention_queue
    WHERE provider = %(provider)s AND kind = %(kind)s AND check_at <= now()
    ORDER BY check_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
locked_requests AS MATERIALIZED (
    SELECT id, status, created_at, finished_at FROM requests
    WHERE id = ANY(ARRAY(SELECT request_id FROM due_rows))
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
),
examined_requests AS MATERIALIZED (
    SELECT id, now() + least(interval '1 hour', greatest(interval '5 seconds', (now() - created_at) / 8)) AS next_check_at,
        make_interval(secs => %(seconds)s::double precision)
            + CASE WHEN status = 'accepted' THEN job.finished_at ELSE locked_requests.finished_at END AS expires_at
    FROM locked_requests LEFT JOIN LATERAL (
        SELECT CASE WHEN bool_and(finished_at IS NOT NULL) THEN max(finished_at) END AS finished_at
        FROM jobs WHERE request_id = locked_requests.id
    ) AS job ON locked_requests.status = 'accepted'
),
postponed_rows AS (
    UPDATE retention_queue SET check_at = coalesce(expires_at, next_check_at)
    FROM examined_requests
    WHERE kind = %(kind)s AND request_id = examined_requests.id AND (expires_at IS NULL OR expires_at > now())
),
deleted_rows AS (
    DELETE FROM retention_queue
    WHERE kind = %(kind)s AND request_id IN (SELECT request_id FROM due_rows)
        AND (request_id IN (SELECT id FROM examined_requests WHERE expires_at <= now())
            OR NOT EXISTS (SELECT FROM requests WHERE id = request_id))
)
SELECT due_rows.request_id, coalesce(expires_at <= now(), false) AS is_expired
FROM due_rows LEFT JOIN examined_requests ON examined_requests.id = due_rows.request_id

-- name: find_expiring_callbacks
-- Return the next callbacks of a provider that were received more than `seconds` ago, in order of receipt. A callback
-- that is still being committed was received `margin` seconds ago at most. Each verdict is read separately, see
-- list_jobs.
SELECT item.received_at, item.id
FROM unnest(%(verdicts)s::text[]) AS candidate(verdict) CROSS JOIN LATERAL (
    SELECT received_at, id FROM callbacks
    WHERE provider = %(provider)s AND verdict = candidate.verdict
        AND (received_at, id) > (%(after)s::timestamptz, %(after_id)s::uuid)
        AND received_at < now() - make_interval(secs => greatest(%(seconds)s, %(margin)s::double precision))
    ORDER BY received_at, id LIMIT %(limit)s
) AS item
ORDER BY received_at, id LIMIT %(limit)s
