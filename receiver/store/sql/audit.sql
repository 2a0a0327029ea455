-- name: find_audited_jobs
-- Return the next jobs after an id, of one provider or of all providers, with every column that events determine.
SELECT id, provider, reference, request_id, status, precedence, disputed, decided_at, decided_position,
    decided_by, accepted_at, finished_at, poll_at, superseded_at, coalesce(own.number, 1) AS generation,
    own.opened_at, next.opened_at AS next_opened_at
FROM jobs
LEFT JOIN reference_generations AS own ON own.job_id = jobs.id
LEFT JOIN reference_generations AS next ON next.first_job_id = coalesce(own.first_job_id, jobs.id)
    AND next.number = coalesce(own.number, 1) + 1
WHERE id > %(after)s AND (%(provider)s::text IS NULL OR provider = %(provider)s)
ORDER BY id LIMIT %(limit)s

-- name: find_audited_events
-- Return all events of jobs in order of receipt.
SELECT events.job_id, key, provider, reference, source, events.status, events.precedence, received_at, position,
    deadline_at, provider_status, code, detail, occurred_at, callback_id, events.request_id, actor
FROM events JOIN jobs ON jobs.id = events.job_id
WHERE events.job_id = ANY(%(ids)s) ORDER BY received_at, position, key

-- name: lock_audited_jobs
-- Lock the jobs to repair in the global order and return them: no event changes them before the commit.
SELECT id, provider, reference, request_id, status, precedence, disputed, decided_at, decided_position,
    decided_by, accepted_at, finished_at, poll_at, superseded_at, coalesce(own.number, 1) AS generation,
    own.opened_at, next.opened_at AS next_opened_at
FROM jobs
LEFT JOIN reference_generations AS own ON own.job_id = jobs.id
LEFT JOIN reference_generations AS next ON next.first_job_id = coalesce(own.first_job_id, jobs.id)
    AND next.number = coalesce(own.number, 1) + 1
WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE OF jobs

-- name: repair_events
-- Store the precedence that follows from the status and source of events; lock them in the global order.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(events)s::jsonb) AS event(job_id uuid, key uuid, precedence smallint)
),
locked_events AS MATERIALIZED (
    SELECT event.job_id, event.key, input.precedence FROM events AS event JOIN input USING (job_id, key)
    ORDER BY event.job_id, event.key FOR UPDATE OF event
)
UPDATE events SET precedence = locked_events.precedence
FROM locked_events WHERE events.job_id = locked_events.job_id AND events.key = locked_events.key

-- name: repair_jobs
-- Store the state of jobs that their events prove. Stop polling jobs that are final or superseded. Insert notifications
-- for each request with a `notify_url` of which a repaired job is final, and for each job whose client may be notified
-- of it.
WITH repaired_jobs AS (
    UPDATE jobs SET
        status = input.status,
        precedence = input.precedence,
        disputed = input.disputed,
        decided_at = input.decided_at,
        decided_position = input.decided_position,
        decided_by = input.decided_by,
        accepted_at = input.accepted_at,
        finished_at = input.finished_at,
        request_id = input.request_id,
        superseded_at = input.superseded_at,
        notify = EXISTS (SELECT FROM requests WHERE requests.id = input.request_id AND notify_url IS NOT NULL),
        notify_events = (SELECT requests.notify_events FROM requests WHERE requests.id = input.request_id),
        poll_at = CASE WHEN input.finished_at IS NULL AND input.superseded_at IS NULL THEN poll_at END
    FROM jsonb_to_recordset(%(jobs)s::jsonb) AS input(
        id uuid, status text, precedence smallint, disputed boolean, decided_at timestamptz, decided_position integer,
        decided_by uuid, accepted_at timestamptz, finished_at timestamptz, request_id uuid,
        superseded_at timestamptz)
    WHERE jobs.id = input.id
    RETURNING jobs.id, jobs.request_id, jobs.notify, jobs.notify_events, jobs.finished_at
),
job_notifications AS (
    INSERT INTO job_notification_outbox (request_id, job_id)
    SELECT request_id, id FROM repaired_jobs WHERE notify_events IS NOT NULL
)
INSERT INTO notification_outbox (request_id)
SELECT DISTINCT request_id FROM repaired_jobs WHERE notify AND finished_at IS NOT NULL

-- name: stop_polls
-- Stop polling final jobs.
UPDATE jobs SET poll_at = NULL WHERE id = ANY(%(ids)s) AND status IN ('succeeded', 'failed')

-- name: find_audited_requests
-- Return requests with the facts that the audit checks: the next requests after an id, of one provider or of all
-- providers, or the requests with the given ids.
--
-- The events of a request's jobs are read only where they can matter: for unknown requests, and for requests that wait
-- for another attempt. A response, also to a lookup or a poll, that reports a job as failed does not prove that the
-- request was accepted: the provider may have refused it.
SELECT requests.id, provider, status, detail, attempts, coalesce(attempt.rows, 0) AS attempt_rows,
    coalesce(attempt.newest, 0) AS newest_attempt, attempt.started_at, attempt.response_status,
    leased_until IS NULL OR leased_until <= now() AS lease_expired,
    coalesce(attempt.newest = attempts AND leased_until > attempt.started_at + interval '1 day'
        AND leased_until > now(), false) AS lease_too_long,
    (SELECT count(*) FROM (SELECT FROM jobs WHERE jobs.request_id = requests.id LIMIT 1) AS job) AS jobs,
    coalesce(evidence.named_by_response, false) AS named_by_response, evidence.accepted_at,
    operator_action.retried_at, coalesce(operator_action.resolved, false) AS resolved,
    conflict_deadline_at IS NOT NULL AS reference_conflict
FROM requests
LEFT JOIN LATERAL (
    SELECT count(*) OVER () AS rows, number AS newest, started_at, response_status
    FROM attempts WHERE request_id = requests.id ORDER BY number DESC LIMIT 1
) AS attempt ON true
LEFT JOIN LATERAL (
    SELECT bool_or(source = 'response') AS named_by_response,
        max(events.received_at) FILTER (WHERE events.status IS NOT NULL AND NOT (source IN ('response', 'poll')
            AND events.status = 'failed')) AS accepted_at
    FROM jobs JOIN events ON events.job_id = jobs.id AND events.request_id = requests.id
    WHERE jobs.request_id = requests.id
        AND (requests.status = 'unknown' OR (requests.status = 'queued' AND requests.attempts > 0))
) AS evidence ON true
LEFT JOIN LATERAL (
    SELECT max(created_at) FILTER (WHERE action = 'retry') AS retried_at,
        bool_or(action NOT IN ('retry', 'cancel', 'recover')) AS resolved
    FROM actions
    WHERE subject = requests.id::text AND requests.status IN ('unknown', 'queued', 'accepted')
) AS operator_action ON true
WHERE (%(after)s::uuid IS NULL OR requests.id > %(after)s)
    AND (%(ids)s::uuid[] IS NULL OR requests.id = ANY(%(ids)s))
    AND (%(provider)s::text IS NULL OR provider = %(provider)s)
ORDER BY requests.id LIMIT %(limit)s

-- name: lock_audited_requests
-- Lock the requests to repair in the global order.
SELECT id FROM requests WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE

-- name: repair_requests
-- Store the repaired state of requests. A request whose only attempt is lost becomes ambiguous: the provider may have
-- acted on it. A lease that ends now lets the sweep for lost attempts decide. A reference conflict that was not flagged
-- waits for an operator from now on. Insert a notification for each accepted
-- request.
WITH input AS MATERIALIZED (
    SELECT input.*, now() AS repaired_at, now() + interval '3 days' AS conflict_ends_at
    FROM jsonb_to_recordset(%(requests)s::jsonb) AS input(
        id uuid, status text, attempts integer, detail text, lease_ends boolean, reference_conflict boolean)
),
repaired_requests AS (
    UPDATE requests SET
        status = coalesce(input.status, requests.status),
        attempts = coalesce(input.attempts, requests.attempts),
        failures = least(failures, coalesce(input.attempts, requests.attempts)),
        ambiguous = ambiguous OR coalesce(input.status = 'unknown', false),
        detail = CASE WHEN input.detail IS NULL THEN requests.detail
            ELSE input.detail || coalesce('; last: ' || requests.detail, '') END,
        due_at = CASE WHEN input.status IS NULL THEN due_at END,
        next_lookup_at = CASE WHEN input.status IS NULL THEN next_lookup_at END,
        lookup_count = CASE WHEN input.status IS NULL THEN lookup_count ELSE 0 END,
        leased_until = CASE WHEN input.lease_ends THEN repaired_at WHEN input.status IS NULL THEN leased_until END,
        conflict_deadline_at = CASE WHEN input.reference_conflict THEN conflict_ends_at ELSE conflict_deadline_at END
    FROM input
    WHERE requests.id = input.id
    RETURNING requests.id, requests.notify_url, input.status
)
INSERT INTO notification_outbox (request_id)
SELECT id FROM repaired_requests WHERE notify_url IS NOT NULL AND status = 'accepted'

-- name: find_unlinked_callbacks
-- Return the next accepted or unmapped callbacks after an id that no event refers to, of one provider or of all
-- providers. What an erased callback reported cannot be checked any more.
SELECT id, identity, provider, received_at, verdict, method, target, headers, errors, coalesce(body, '') AS body,
    coalesce(verified, true) AS verified, secret_fingerprint, caller_address
FROM callbacks
WHERE id > %(after)s AND verdict IN ('accepted', 'unmapped') AND erased_at IS NULL
    AND (%(provider)s::text IS NULL OR provider = %(provider)s)
    AND NOT EXISTS (SELECT FROM events WHERE callback_id = callbacks.id)
ORDER BY id LIMIT %(limit)s

-- name: find_stored_events
-- Return those of the events that are stored.
SELECT job_id, key
FROM events JOIN jsonb_to_recordset(%(events)s::jsonb) AS input(job_id uuid, key uuid) USING (job_id, key)
