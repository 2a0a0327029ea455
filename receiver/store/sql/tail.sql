-- name: read_running_transactions
-- Return the time, and when each transaction in this database had begun that is running now, with its id if it has one.
SELECT clock_timestamp() AS time, coalesce(jsonb_agg(jsonb_build_array(
    (extract(epoch FROM xact_start) * 1000000)::bigint, backend_xid::text)), '[]')::text AS running
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL

-- name: read_tail_snapshot
-- Return the id of the next transaction, and the ids of those that are running, of the snapshot of this transaction.
SELECT pg_snapshot_xmax(snapshot)::text::bigint AS next_xid,
    ARRAY(SELECT xid::text::bigint FROM pg_snapshot_xip(snapshot) AS running(xid)) AS running
FROM pg_current_snapshot() AS snapshot

-- name: read_changed_requests
-- Return the requests that were submitted, have ended or became unknown since a position. These times are those of
-- transactions: each is either after `time`, or one of the times at which a transaction had begun that was running then.
WITH submitted_requests AS (
    SELECT item.id, item.at
    FROM operations_with_requests AS source CROSS JOIN unnest(%(statuses)s::text[]) AS candidate(status)
    CROSS JOIN LATERAL (
        (SELECT id, created_at AS at FROM requests
        WHERE provider = source.provider AND operation = source.operation AND status = candidate.status
            AND created_at >= %(time)s
        ORDER BY created_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT id, created_at FROM requests
        WHERE provider = source.provider AND operation = source.operation AND status = candidate.status
            AND created_at = ANY(%(started)s::timestamptz[])
        LIMIT %(limit)s)
    ) AS item
    ORDER BY at DESC LIMIT %(limit)s
),
ended_requests AS (
    SELECT id, finished_at AS at FROM requests WHERE finished_at >= %(time)s
    UNION ALL
    SELECT id, finished_at FROM requests WHERE finished_at = ANY(%(started)s::timestamptz[])
    UNION ALL
    SELECT id, unknown_since FROM requests WHERE status = 'unknown' AND unknown_since >= %(time)s
    UNION ALL
    SELECT id, unknown_since FROM requests WHERE status = 'unknown' AND unknown_since = ANY(%(started)s::timestamptz[])
    ORDER BY at DESC LIMIT %(limit)s
)
SELECT 'request' AS kind, change.at, change.at AS started_at, NULL::bigint AS xid, request.provider, request.client,
    change.id, change.id AS request_id, NULL::uuid AS callback_id, NULL::text AS reference,
    CASE WHEN is_end THEN request.status WHEN request.operation = 'job.track' THEN 'accepted' ELSE 'queued' END AS status,
    NULL::text AS source, request.operation, NULL::text AS provider_status,
    NULL::text AS code, CASE WHEN is_end THEN request.detail END AS detail, NULL::jsonb AS errors, NULL::text AS job_status
FROM (
    SELECT id, at, false AS is_end FROM submitted_requests
    UNION
    SELECT id, at, true FROM ended_requests
) AS change CROSS JOIN LATERAL (
    SELECT provider, client, status, operation, detail FROM requests WHERE id = change.id OFFSET 0
) AS request

-- name: read_changed_callbacks
-- Return the callbacks that were stored since a position, or replayed. A callback is received before its transaction
-- begins, and a row holds only the id of the transaction that changed it last: callbacks since `received_from` are
-- read, and returned if that transaction was not visible.
--
-- Also return callbacks whose events may be stored in several transactions, of which the first one was visible: those
-- with a body of more than `min_bytes`, or a compressed one.
SELECT 'callback' AS kind, callback.received_at AS at, NULL::timestamptz AS started_at, callback.xid,
    callback.provider, NULL::text AS client, callback.id, NULL::uuid AS request_id, callback.id AS callback_id,
    NULL::text AS reference, callback.verdict AS status, NULL::text AS source, NULL::text AS operation,
    NULL::text AS provider_status, NULL::text AS code, NULL::text AS detail, callback.errors, NULL::text AS job_status
FROM providers_with_callbacks AS source
CROSS JOIN unnest(%(verdicts)s::text[]) AS candidate(verdict)
CROSS JOIN LATERAL (
    SELECT id, provider, verdict, received_at, errors, xmin::text::bigint AS xid FROM callbacks
    WHERE provider = source.provider AND callbacks.verdict = candidate.verdict AND received_at >= %(received_from)s
        AND (age(xmin) <= age(%(next_xid)s::xid) OR xmin = ANY(%(running)s::xid[])
            OR octet_length(body) > %(min_bytes)s OR headers ? 'content-encoding')
    ORDER BY received_at DESC LIMIT %(limit)s
) AS callback
UNION ALL
SELECT 'callback', received_at, NULL, xmin::text::bigint, provider, NULL, id, NULL, id, NULL, verdict, NULL, NULL, NULL,
    NULL, NULL, errors, NULL
FROM callbacks WHERE id = ANY(%(replayed)s::uuid[]) AND received_at < %(received_from)s
ORDER BY at DESC LIMIT %(limit)s

-- name: read_changed_events
-- Return the events that were stored since a position: those of certain callbacks, and those of no callback.
--
-- OFFSET 0: each job and request is looked up, also if the planner expects many events.
SELECT 'job' AS kind, event.received_at AS at, NULL::timestamptz AS started_at, event.xid, job.provider, request.client,
    event.job_id AS id, job.request_id, event.callback_id, job.reference, event.status, event.source,
    NULL::text AS operation, event.provider_status, event.code, event.detail, NULL::jsonb AS errors,
    job.status AS job_status
FROM (
    SELECT job_id, received_at, xmin::text::bigint AS xid, callback_id, status, source, provider_status, code,
        detail FROM events
    WHERE callback_id IS NULL AND received_at >= %(received_from)s
        AND (age(xmin) <= age(%(next_xid)s::xid) OR xmin = ANY(%(running)s::xid[]))
    UNION ALL
    SELECT job_id, received_at, xmin::text::bigint, callback_id, status, source, provider_status, code,
        detail FROM events
    WHERE callback_id = ANY(%(callback_ids)s::uuid[])
        AND (age(xmin) <= age(%(next_xid)s::xid) OR xmin = ANY(%(running)s::xid[]))
    ORDER BY received_at DESC LIMIT %(limit)s
) AS event
CROSS JOIN LATERAL (
    SELECT provider, request_id, reference, status FROM jobs WHERE id = event.job_id OFFSET 0
) AS job
LEFT JOIN LATERAL (SELECT client FROM requests WHERE id = job.request_id OFFSET 0) AS request ON true

-- name: find_replayed_callbacks
-- Return the callbacks that were replayed since a position; the times of actions are those of transactions.
SELECT subject::uuid FROM actions
WHERE action = 'replay' AND (created_at >= %(time)s OR created_at = ANY(%(started)s::timestamptz[]))
