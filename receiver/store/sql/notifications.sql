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
-- or accepted with only final jobs and without a reference conflict. If the client wants to be notified of jobs only,
-- return just those without any such job; a job that a process of the release before 0007 stored is none. The digest
-- covers the request's status and end and the statuses of its jobs.
-- Execute it after `take_outbox` and as a separate statement, so that it sees everything that was committed before the
-- requests were locked.
SELECT requests.id, outcome.jobs, outcome.digest, statement_timestamp() AS read_at
FROM requests CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, bool_and(jobs.finished_at IS NOT NULL) AS all_final,
        sha256(convert_to(concat_ws(' ', requests.status, extract(epoch FROM requests.finished_at),
            string_agg(concat_ws(' ', jobs.id, jobs.status, jobs.disputed), ' ' ORDER BY jobs.id)), 'UTF8')) AS digest
    FROM jobs WHERE jobs.request_id = requests.id
) AS outcome
WHERE requests.id = ANY(%(ids)s) AND notify_url IS NOT NULL
    AND (requests.finished_at IS NOT NULL OR requests.status = 'accepted' AND conflict_deadline_at IS NULL AND outcome.all_final)
    AND last_notified_digest IS DISTINCT FROM outcome.digest
    AND (notify_events IS NULL OR 'request' = ANY(notify_events) OR NOT EXISTS (
        SELECT FROM jobs WHERE jobs.request_id = requests.id AND jobs.notify_events IS NOT NULL))
ORDER BY requests.id

-- name: save_notified
-- Store which final state of each request was notified last.
UPDATE requests SET last_notified_digest = input.digest
FROM unnest(%(ids)s::uuid[], %(digests)s::bytea[]) AS input(id, digest)
WHERE requests.id = input.id AND requests.id = ANY(%(ids)s::uuid[])

-- name: take_job_outbox
-- Delete the oldest rows of the outbox of jobs, lock the requests of these jobs and return the jobs' ids; see take_outbox.
WITH due_rows AS MATERIALIZED (
    SELECT id, request_id, job_id FROM job_notification_outbox ORDER BY id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
existing_requests AS MATERIALIZED (
    SELECT id FROM requests WHERE id = ANY(ARRAY(SELECT request_id FROM due_rows))
),
locked_requests AS MATERIALIZED (
    SELECT id FROM requests WHERE id = ANY(ARRAY(SELECT request_id FROM due_rows))
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
DELETE FROM job_notification_outbox USING due_rows
WHERE job_notification_outbox.id = due_rows.id AND (
    due_rows.request_id IN (SELECT id FROM locked_requests)
    OR due_rows.request_id NOT IN (SELECT id FROM existing_requests))
RETURNING due_rows.job_id

-- name: find_pending_jobs
-- Return those of the jobs whose state was not notified yet and is to be. Execute it after `take_job_outbox`, like
-- find_pending_notifications.
SELECT jobs.id, jobs.provider, reference, jobs.request_id, jobs.status, jobs.disputed, accepted_at, jobs.finished_at,
    jobs.deadline_at, false AS unmatched, statement_timestamp() AS read_at
FROM jobs JOIN requests ON requests.id = jobs.request_id LEFT JOIN notified_jobs ON notified_jobs.job_id = jobs.id
WHERE jobs.id = ANY(%(ids)s) AND notify_url IS NOT NULL
    AND ('job_change' = ANY(requests.notify_events)
        OR 'job' = ANY(requests.notify_events) AND jobs.finished_at IS NOT NULL)
    AND (jobs.status, jobs.disputed) IS DISTINCT FROM (notified_jobs.status, notified_jobs.disputed)
ORDER BY jobs.request_id, accepted_at, jobs.id

-- name: save_notified_jobs
-- Store the state of jobs that was notified last.
INSERT INTO notified_jobs (job_id, status, disputed)
SELECT * FROM unnest(%(ids)s::uuid[], %(statuses)s::text[], %(disputed)s::boolean[])
ON CONFLICT (job_id) DO UPDATE SET status = excluded.status, disputed = excluded.disputed

-- name: list_notifications
-- Return a page of notifications, newest first, each with its newest attempt. Each operation and status is read
-- separately, see list_requests. `ids`, if it is not null, has the only notifications to read.
SELECT notification.id, CASE operation WHEN 'notify' THEN 'request.finished' ELSE operation END AS type,
    payload ->> 'url' AS url, metadata ->> 'provider' AS provider, (metadata ->> 'request_id')::uuid AS request_id,
    coalesce(jsonb_path_query_array(payload, '$.body.data.jobs[0 to 99].id'), '[]') AS job_ids, client, status, detail, created_at,
    due_at AS next_attempt_at, finished_at, attempts AS attempt_count, attempt.started_at AS last_attempt_at,
    attempt.response_status, attempt.error
FROM (
    SELECT item.id, item.created_at AS sort_time
    FROM operations_with_requests AS source
    CROSS JOIN unnest(%(statuses)s::text[]) AS candidate(status)
    CROSS JOIN LATERAL (
        SELECT id, created_at
        FROM requests
        WHERE provider = source.provider AND operation = source.operation AND status = candidate.status
            AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s::uuid[]))
            AND (%(client)s::text IS NULL OR client = %(client)s)
            AND (%(providers)s::text[] IS NULL OR ARRAY[metadata ->> 'provider', split_part(metadata ->> 'provider', '/', 1)] && %(providers)s::text[])
            AND (%(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::uuid))
            AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
            AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s)
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    ) AS item
    WHERE source.provider = 'notify'
    ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
) AS page JOIN requests AS notification ON notification.id = page.id
LEFT JOIN LATERAL (
    SELECT started_at, response_status, error FROM attempts
    WHERE request_id = notification.id ORDER BY number DESC LIMIT 1
) AS attempt ON true
ORDER BY sort_time DESC, notification.id DESC

-- name: find_notifications_of_request
-- Return the ids of the notifications about a request.
SELECT notification.id
FROM request_metadata AS entry JOIN requests AS notification ON notification.id = entry.request_id
WHERE entry.key = 'request_id' AND entry.value = %(request_id)s::text AND notification.provider = 'notify'

-- name: resend_notification
-- Make a notification due now, with the full number of attempts and time. Return the id unless the notification is being
-- sent, or its body is no longer stored.
UPDATE requests SET
    status = 'queued',
    detail = NULL,
    failures = 0,
    due_at = now(),
    deadline_at = now() + make_interval(secs => %(deadline_after)s),
    finished_at = NULL
WHERE id = %(id)s AND provider = 'notify' AND status <> 'sending' AND payload ? 'url'
RETURNING id
