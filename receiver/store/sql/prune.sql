-- name: compute_cutoff
-- Return the time `seconds` seconds ago, by the database's clock.
SELECT now() - make_interval(secs => %(seconds)s)

-- name: has_other_activity
-- Return whether another client of the database is executing a statement. Statements of other roles are visible to
-- superusers and members of pg_read_all_stats only.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND state = 'active'
        AND pid <> pg_backend_pid())

-- name: find_prunable_jobs
-- Return the next final jobs of a provider that finished before a time, oldest first, each with the id of its request
-- if that request exists.
SELECT jobs.finished_at, jobs.id, requests.id AS request_id
FROM jobs LEFT JOIN requests ON requests.id = jobs.request_id
WHERE jobs.provider = %(provider)s AND jobs.status = %(status)s AND jobs.finished_at < %(before)s
    AND NOT disputed
    AND (jobs.finished_at, jobs.id) > (%(after)s, %(after_id)s)
ORDER BY jobs.finished_at, jobs.id LIMIT %(limit)s

-- name: list_operations_with_requests
-- Return the operations that have requests, by provider.
SELECT provider, operation FROM operations_with_requests

-- name: find_prunable_requests
-- Return the next requests of an operation with a final status, in order of creation, and whether each finished before
-- a time.
SELECT created_at, id, finished_at < %(before)s AS prunable FROM requests
WHERE provider = %(provider)s AND operation = %(operation)s AND status = %(status)s AND created_at < %(before)s
    AND (created_at, id) > (%(after)s, %(after_id)s)
ORDER BY created_at, id LIMIT %(limit)s

-- name: list_providers_with_callbacks
-- Return the providers that have callbacks.
SELECT provider FROM providers_with_callbacks

-- name: find_prunable_callbacks
-- Return the next callbacks of a provider with a verdict that were received before a time, oldest first.
SELECT received_at, id FROM callbacks
WHERE provider = %(provider)s AND verdict = %(verdict)s AND received_at < %(before)s
    AND (received_at, id) > (%(after)s, %(after_id)s)
ORDER BY received_at, id LIMIT %(limit)s

-- name: find_prunable_keys
-- Return the next idempotency keys in order of client and key, and whether each was used before a time.
SELECT client, key, created_at < %(before)s AS prunable FROM idempotency_keys
WHERE (client, key) > (%(client)s, %(key)s)
ORDER BY client, key LIMIT %(limit)s

-- name: lock_finished_work
-- Lock requests with all their jobs, and jobs without a request, with all events of these jobs. Rows that another
-- transaction has locked are skipped, so that pruning neither waits for other transactions nor makes them wait for
-- long.
--
-- Return the ids of the locked requests, and the locked jobs, each with the number of its locked events.
WITH locked_requests AS MATERIALIZED (
    SELECT id FROM requests
    WHERE id = ANY(%(requests)s)
        -- do not lock all jobs of a request, night after night, if a single job prevents its removal
        AND NOT EXISTS (
            SELECT FROM jobs WHERE request_id = requests.id AND (finished_at IS NULL OR disputed))
    FOR UPDATE SKIP LOCKED
),
locked_jobs AS MATERIALIZED (
    SELECT id FROM jobs
    WHERE id = ANY(%(jobs)s) OR request_id = ANY(ARRAY(SELECT locked_requests.id FROM locked_requests))
    FOR UPDATE SKIP LOCKED
),
locked_events AS MATERIALIZED (
    SELECT job_id FROM events WHERE job_id = ANY(ARRAY(SELECT locked_jobs.id FROM locked_jobs)) FOR UPDATE SKIP LOCKED
)
SELECT ARRAY(SELECT locked_requests.id FROM locked_requests) AS requests,
    coalesce(jsonb_object_agg(id, events), '{}')::text AS jobs
FROM (
    SELECT locked_jobs.id, count(locked_events.job_id) AS events
    FROM locked_jobs LEFT JOIN locked_events ON locked_events.job_id = locked_jobs.id GROUP BY locked_jobs.id
) AS job

-- name: remove_finished_work
-- Delete those of the locked requests and jobs that are finished and for which nothing was received since `before`,
-- with their attempts, metadata, events, the callbacks that no other event refers to, and actions. Disputed jobs stay,
-- and requests whose client is still to be notified.
--
-- A transaction with an event of a locked job waits for the lock. An event that was committed just before the lock was
-- taken shows as a different number of events.
WITH locked_jobs AS MATERIALIZED (
    SELECT key::uuid AS id, value::integer AS events FROM jsonb_each_text(%(jobs)s::jsonb)
),
counted_jobs AS MATERIALIZED (
    SELECT locked_jobs.id, locked_jobs.events, count(event.job_id) AS present, max(event.received_at) AS last_at,
        -- whether the callback of an event, or a duplicate of that callback, was received since `before`
        bool_or(EXISTS (
            SELECT FROM callbacks AS original WHERE original.id = event.callback_id
                AND (original.received_at >= %(before)s OR EXISTS (
                    SELECT FROM callbacks AS duplicate WHERE duplicate.identity = original.identity
                        AND duplicate.verdict = 'duplicate' AND duplicate.received_at >= %(before)s)))) AS called_back
    FROM locked_jobs LEFT JOIN events AS event ON event.job_id = locked_jobs.id
    GROUP BY locked_jobs.id, locked_jobs.events
),
inactive_jobs AS MATERIALIZED (
    SELECT jobs.id, jobs.request_id FROM counted_jobs JOIN jobs USING (id)
    WHERE finished_at < %(before)s AND NOT disputed AND present = counted_jobs.events
        AND (last_at IS NULL OR last_at < %(before)s) AND NOT coalesce(called_back, false)
),
finished_requests AS MATERIALIZED (
    SELECT id FROM requests
    WHERE id = ANY(%(requests)s)
        AND CASE WHEN status = 'accepted'
            THEN conflict_deadline_at IS NULL AND id IN (SELECT inactive_jobs.request_id FROM inactive_jobs)
            ELSE finished_at < %(before)s END
        AND NOT EXISTS (
            SELECT FROM jobs WHERE request_id = requests.id AND id NOT IN (SELECT inactive_jobs.id FROM inactive_jobs))
        -- A client must be able to look up the request of which it is notified. A notification is itself a request,
        -- whose metadata names the finished request: see receiver.outbound.notifications.
        AND NOT EXISTS (SELECT FROM notification_outbox WHERE request_id = requests.id)
        AND NOT EXISTS (SELECT FROM job_notification_outbox WHERE request_id = requests.id)
        AND NOT EXISTS (
            SELECT FROM request_metadata AS entry JOIN requests AS notification ON notification.id = entry.request_id
            WHERE entry.key = 'request_id' AND entry.value = requests.id::text
                AND notification.provider = 'notify' AND notification.finished_at IS NULL)
),
finished_jobs AS MATERIALIZED (
    SELECT id FROM inactive_jobs
    WHERE request_id IN (SELECT finished_requests.id FROM finished_requests)
        OR NOT EXISTS (SELECT FROM requests WHERE requests.id = inactive_jobs.request_id)
),
deleted_events AS (
    DELETE FROM events WHERE job_id = ANY(ARRAY(SELECT finished_jobs.id FROM finished_jobs)) RETURNING callback_id
),
deleted_callbacks AS (
    DELETE FROM callbacks WHERE id = ANY(ARRAY(
        SELECT id FROM callbacks
        WHERE id IN (SELECT callback_id FROM deleted_events) AND NOT EXISTS (
            SELECT FROM events
            WHERE callback_id = callbacks.id AND job_id NOT IN (SELECT finished_jobs.id FROM finished_jobs))
        FOR UPDATE SKIP LOCKED))
    RETURNING id
),
deleted_actions AS (
    DELETE FROM actions
    WHERE subject IN (SELECT id::text FROM deleted_callbacks UNION ALL SELECT id::text FROM finished_requests)
),
deleted_attempts AS (
    DELETE FROM attempts WHERE request_id = ANY(ARRAY(SELECT finished_requests.id FROM finished_requests))
),
deleted_metadata AS (
    DELETE FROM request_metadata WHERE request_id = ANY(ARRAY(SELECT finished_requests.id FROM finished_requests))
),
deleted_jobs AS (
    DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT finished_jobs.id FROM finished_jobs)) RETURNING id
),
deleted_requests AS (
    DELETE FROM requests WHERE id = ANY(ARRAY(SELECT finished_requests.id FROM finished_requests)) RETURNING id
)
SELECT (SELECT count(*) FROM deleted_requests) AS requests, (SELECT count(*) FROM deleted_jobs) AS jobs,
    (SELECT count(*) FROM deleted_events) AS events, (SELECT count(*) FROM deleted_callbacks) AS callbacks,
    0 AS idempotency_keys

-- name: remove_callbacks
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

-- name: remove_keys
-- Delete idempotency keys that were used before a time and whose requests have all been removed; the stored response
-- is a request, a job with its request, or a list of requests. Rows that another transaction has locked are skipped.
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
            SELECT coalesce(item ->> 'request_id', item ->> 'id')::uuid
            FROM jsonb_array_elements(coalesce(response.body -> 'items', jsonb_build_array(response.body))) AS item)))
),
deleted_keys AS (
    DELETE FROM idempotency_keys USING unused_keys
    WHERE idempotency_keys.client = unused_keys.client AND idempotency_keys.key = unused_keys.key
    RETURNING idempotency_keys.key
)
SELECT 0 AS requests, 0 AS jobs, 0 AS events, 0 AS callbacks, (SELECT count(*) FROM deleted_keys) AS idempotency_keys
