-- name: reconcile
-- Insert new callbacks and events and merge the events into the jobs, in one statement.
--
-- `batch` is one jsonb object with "callbacks" (bodies in base64), "events" (each event once) and "jobs" (the state
-- that these events fold to). All three are sorted, so that rows are locked in one global order: callbacks by identity,
-- events by job and key, jobs by id. Insert notifications where a job of a request with a `notify_url` has a final status
-- that is new or has changed, or any such status if the client wants that. Return the jobs that already belong to
-- another request than the given one.
--
-- If a reference of the batch has several generations, and the caller has not `assigned` the events to them, do nothing
-- but return the ids of the first jobs of these references, with null instead of a request. If a generation is opened at
-- the same time, abort: the caller is to repeat the transaction.
--
-- An event that is received more than once keeps its earliest receive time and the first request it was matched with,
-- and merging is idempotent. What is stored therefore depends on the set of deliveries and not on the order of commits,
-- and the events always prove the job.
WITH
input AS MATERIALIZED (SELECT %(batch)s::jsonb AS batch),
incoming_jobs AS MATERIALIZED (
    SELECT job.* FROM input, jsonb_to_recordset(batch -> 'jobs') AS job(
        id uuid, provider text, reference text, request_id uuid, status text, precedence smallint, disputed boolean,
        decided_at timestamptz, decided_position integer, decided_by uuid, accepted_at timestamptz,
        finished_at timestamptz, deadline_at timestamptz, poll_at timestamptz, location text, notify boolean,
        notify_events text[])
),
generations AS MATERIALIZED (
    SELECT DISTINCT first_job_id FROM reference_generations
    WHERE NOT %(assigned)s::boolean AND first_job_id = ANY(ARRAY(SELECT incoming_jobs.id FROM incoming_jobs))
),
assigned_input AS MATERIALIZED (
    SELECT batch FROM input WHERE NOT EXISTS (SELECT FROM generations)
),
incoming_callbacks AS MATERIALIZED (
    SELECT callback.* FROM assigned_input, jsonb_to_recordset(batch -> 'callbacks') AS callback(
        id uuid, identity uuid, provider text, received_at timestamptz, verdict text, method text, target text,
        headers jsonb, body text, errors jsonb, verified boolean, secret_fingerprint text, caller_address text)
),
inserted_callbacks AS (
    INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors,
        verified, secret_fingerprint, caller_address)
    SELECT id, identity, provider, received_at, verdict, method, target, headers, decode(body, 'base64'), errors,
        verified, secret_fingerprint, caller_address
    FROM incoming_callbacks
    ON CONFLICT (identity, verdict) WHERE verdict IN ('accepted', 'invalid', 'unmapped') DO NOTHING
    RETURNING id
),
duplicate_callbacks AS (
    INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, verified,
        secret_fingerprint, caller_address)
    -- Of a target and headers that are large, the first delivery has the rest: anybody may send it again and again.
    SELECT id, identity, provider, received_at, 'duplicate', method,
        CASE WHEN length(target) <= 500 THEN target ELSE '' END,
        (SELECT coalesce(jsonb_object_agg(name, value), '{}')
            FROM (
                SELECT name, value, sum(length(name) + length(value)) OVER (ORDER BY length(name) + length(value), name)
                FROM jsonb_each_text(headers) AS entry(name, value)
            ) AS header(name, value, total_length)
            WHERE total_length <= 1000),
        verified, secret_fingerprint, caller_address
    FROM incoming_callbacks
    WHERE id NOT IN (SELECT id FROM inserted_callbacks)
    ON CONFLICT (id) DO NOTHING -- the callback itself, if the reply to its commit was lost
),
upserted_events AS (
    INSERT INTO events AS event (job_id, key, source, status, precedence, provider_status, code, detail, occurred_at,
        received_at, position, callback_id, request_id, actor)
    SELECT incoming.* FROM assigned_input, jsonb_to_recordset(batch -> 'events') AS incoming(
        job_id uuid, key uuid, source text, status text, precedence smallint, provider_status text, code text,
        detail text, occurred_at timestamptz, received_at timestamptz, position integer, callback_id uuid,
        request_id uuid, actor text)
    ON CONFLICT (job_id, key) DO UPDATE SET
        received_at = least(event.received_at, excluded.received_at),
        request_id = coalesce(event.request_id, excluded.request_id)
    WHERE excluded.received_at < event.received_at
        OR (event.request_id IS NULL AND excluded.request_id IS NOT NULL)
    RETURNING job_id
),
merged_jobs AS (
    INSERT INTO jobs AS job (id, provider, reference, request_id, status, precedence, disputed, decided_at,
        decided_position, decided_by, accepted_at, finished_at, deadline_at, poll_at, location, notify,
        notify_events)
    SELECT id, provider, reference, request_id, status, precedence, disputed, decided_at, decided_position, decided_by,
        accepted_at, finished_at, deadline_at, poll_at, location, notify, notify_events
    FROM incoming_jobs
    -- All events first: a transaction that waits for a job then holds no event that another transaction waits for.
    WHERE (SELECT count(*) FROM upserted_events) >= 0 AND NOT EXISTS (SELECT FROM generations)
    ON CONFLICT (id) DO UPDATE SET
        (status, precedence, decided_at, decided_position, decided_by, finished_at) = (
            SELECT state.status, state.precedence, state.decided_at, state.decided_position, state.decided_by,
                state.finished_at
            FROM (VALUES
                (job.status, job.precedence, job.decided_at, job.decided_position, job.decided_by, job.finished_at),
                (excluded.status, excluded.precedence, excluded.decided_at, excluded.decided_position,
                    excluded.decided_by, excluded.finished_at)
            ) AS state(status, precedence, decided_at, decided_position, decided_by, finished_at)
            -- precedence 60: of several operators the latest decides
            ORDER BY state.precedence DESC, CASE WHEN state.precedence = 60 THEN state.decided_at END DESC,
                state.decided_at, state.decided_position, state.decided_by LIMIT 1),
        disputed = CASE
            WHEN job.precedence > excluded.precedence THEN job.disputed
            WHEN job.precedence < excluded.precedence THEN excluded.disputed
            WHEN job.precedence = 60 THEN false
            ELSE job.disputed OR excluded.disputed OR job.status <> excluded.status END,
        accepted_at = least(job.accepted_at, excluded.accepted_at),
        request_id = coalesce(job.request_id, excluded.request_id),
        notify = CASE WHEN job.request_id IS NULL THEN excluded.notify ELSE job.notify END,
        notify_events = CASE WHEN job.request_id IS NULL THEN excluded.notify_events ELSE job.notify_events END,
        location = coalesce(job.location, excluded.location),
        poll_at = CASE WHEN job.finished_at IS NULL AND excluded.finished_at IS NULL THEN job.poll_at END
    WHERE CASE WHEN job.superseded_at IS NOT NULL AND EXISTS (
            SELECT FROM input, jsonb_to_recordset(batch -> 'events') AS late(
                job_id uuid, source text, received_at timestamptz, request_id uuid)
            WHERE late.job_id = job.id
                AND (late.source = 'callback' AND late.received_at >= job.superseded_at
                    OR late.source <> 'callback' AND late.request_id IS NOT NULL))
        THEN raise_conflict('the reference of job ' || job.id::text || ' names another job now')
        ELSE excluded.precedence > job.precedence
            OR (excluded.precedence = job.precedence AND excluded.precedence <> 60
                AND (job.decided_at, job.decided_position, job.decided_by)
                    > (excluded.decided_at, excluded.decided_position, excluded.decided_by))
            OR (excluded.precedence = job.precedence AND excluded.precedence = 60
                AND (excluded.decided_at, job.decided_position, job.decided_by)
                    > (job.decided_at, excluded.decided_position, excluded.decided_by))
            OR (excluded.precedence = job.precedence AND excluded.precedence <> 60
                AND (excluded.disputed OR excluded.status <> job.status) AND NOT job.disputed)
            OR excluded.accepted_at < job.accepted_at
            OR (excluded.request_id IS NOT NULL AND excluded.request_id IS DISTINCT FROM job.request_id)
        END
    RETURNING job.id, job.request_id, job.notify, job.notify_events, job.finished_at
),
notifications AS (
    INSERT INTO notification_outbox (request_id)
    SELECT DISTINCT request_id FROM merged_jobs
    WHERE notify AND finished_at IS NOT NULL AND (notify_events IS NULL OR 'request' = ANY(notify_events))
),
job_notifications AS (
    INSERT INTO job_notification_outbox (request_id, job_id)
    SELECT request_id, id FROM merged_jobs
    WHERE 'job_change' = ANY(notify_events) OR 'job' = ANY(notify_events) AND finished_at IS NOT NULL
)
SELECT merged_jobs.id, merged_jobs.request_id
FROM merged_jobs JOIN incoming_jobs USING (id)
WHERE incoming_jobs.request_id <> merged_jobs.request_id
UNION ALL
SELECT first_job_id, NULL FROM generations
