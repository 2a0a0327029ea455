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
        AND CASE WHEN status = 'accepted' THEN EXISTS (SELECT FROM jobs WHERE request_id = requests.id)
            ELSE finished_at < %(before)s END
        AND NOT EXISTS (
            SELECT FROM jobs WHERE request_id = requests.id AND id NOT IN (SELECT inactive_jobs.id FROM inactive_jobs))
        -- A client must be able to look up the request of which it is notified. A notification is itself a request,
        -- whose metadata names the finished request: see receiver.outbound.notifications.
        AND NOT EXISTS (SELECT FROM notification_outbox WHERE request_id = requests.id)
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
