-- name: find_recoverable_requests
-- Return the next requests of an operation with a status, in order of creation, that may have been sent before a time
-- without a record: they were due, or have an attempt that began and did not end.
SELECT created_at, id FROM requests
WHERE provider = %(provider)s AND operation = %(operation)s AND status = %(status)s AND created_at < %(before)s
    AND (due_at < %(before)s OR EXISTS (
        SELECT FROM attempts WHERE request_id = requests.id AND started_at < %(before)s AND finished_at IS NULL))
    AND (created_at, id) > (%(after)s, %(after_id)s)
ORDER BY created_at, id LIMIT %(limit)s

-- name: recover_requests
-- Set those of the requests to `unknown` that may have been sent before a time without a record, see
-- `find_recoverable_requests`; or to `accepted` where a job of the request is known, or an event since the latest attempt
-- and the latest retry shows that the provider accepted it. End the attempts from before that time. Insert an action for each request, and a
-- notification for each accepted one. Lock the requests in the global order. `lookup_delays` holds, for each provider
-- that supports lookups, the seconds until the first lookup. Return the numbers of unknown and of accepted requests.
WITH locked_requests AS MATERIALIZED (
    SELECT id, known_accepted, now() AS recovered_at,
        now() + make_interval(secs => (%(lookup_delays)s::jsonb ->> provider)::double precision) AS first_lookup_at
    FROM requests
    WHERE id = ANY(%(ids)s) AND status IN ('queued', 'sending') AND (due_at < %(before)s OR EXISTS (
        SELECT FROM attempts WHERE request_id = requests.id AND started_at < %(before)s AND finished_at IS NULL))
    ORDER BY id FOR NO KEY UPDATE
),
accepted_requests AS MATERIALIZED (
    SELECT DISTINCT jobs.request_id AS id
    FROM jobs JOIN events ON events.job_id = jobs.id AND events.request_id = jobs.request_id
    WHERE jobs.request_id = ANY(ARRAY(SELECT locked_requests.id FROM locked_requests))
        AND events.status IS NOT NULL AND NOT (source IN ('response', 'poll') AND events.status = 'failed')
        AND NOT EXISTS (
            SELECT FROM attempts
            WHERE attempts.request_id = jobs.request_id AND started_at > events.received_at)
        AND NOT EXISTS (
            SELECT FROM actions
            WHERE subject = jobs.request_id::text AND action = 'retry' AND created_at >= events.received_at)
),
recovered_requests AS (
    UPDATE requests SET
        status = CASE WHEN is_accepted THEN 'accepted' ELSE 'unknown' END,
        detail = CASE WHEN is_accepted THEN coalesce(detail || '; ', '') || 'accepted: one of its jobs is known'
            ELSE %(detail)s::text || coalesce('; last: ' || detail, '')
                || CASE WHEN first_lookup_at IS NOT NULL THEN '; a lookup is scheduled' ELSE '' END END,
        due_at = NULL,
        leased_until = NULL,
        ambiguous = true,
        known_accepted = is_accepted,
        next_lookup_at = CASE WHEN NOT is_accepted THEN first_lookup_at END,
        unknown_since = CASE WHEN NOT is_accepted THEN recovered_at END,
        lookup_count = 0,
        not_found = 0
    FROM (
        SELECT locked_requests.id AS request_id, recovered_at, first_lookup_at,
            locked_requests.known_accepted OR accepted_requests.id IS NOT NULL AS is_accepted
        FROM locked_requests LEFT JOIN accepted_requests USING (id)
    ) AS input
    WHERE requests.id = input.request_id
    RETURNING requests.id, requests.notify_url, requests.status
),
ended_attempts AS (
    UPDATE attempts SET finished_at = now(), error = %(detail)s
    WHERE request_id = ANY(ARRAY(SELECT locked_requests.id FROM locked_requests))
        AND started_at < %(before)s AND finished_at IS NULL
),
inserted_actions AS (
    INSERT INTO actions (id, subject, action, created_at, actor, reason)
    SELECT gen_random_uuid(), id::text, 'recover', now(), %(actor)s, %(reason)s FROM recovered_requests
),
notifications AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM recovered_requests WHERE notify_url IS NOT NULL AND status = 'accepted'
)
SELECT count(*) FILTER (WHERE status = 'unknown') AS unknown, count(*) FILTER (WHERE status = 'accepted') AS accepted
FROM recovered_requests
