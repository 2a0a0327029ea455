-- Store what is new and join it into the jobs, in one statement.
--
-- Takes one jsonb object: "callbacks" (bodies in base64), "events" (each statement once) and "jobs" (the state that
-- those events fold to), all sorted, so that rows are locked in one global order: callbacks by identity, events by job
-- and key, jobs by id. Gives the jobs that already belong to another request than the one named. That a job of a request
-- whose client wants to be told has its final word, or another one, is noted.
--
-- A statement that came more than once keeps its earliest receive time and the first request it was tied to, and the
-- join is idempotent, so that what is stored depends on the set of deliveries and not on who was first to commit, and
-- the events always prove the job.
WITH
batch AS MATERIALIZED (SELECT %(batch)s::jsonb AS given),
delivered AS MATERIALIZED (
    SELECT c.* FROM batch, jsonb_to_recordset(given -> 'callbacks') AS c(
        id uuid, identity uuid, provider text, received_at timestamptz, verdict text, method text, target text,
        headers jsonb, body text, errors jsonb)
),
wanted AS MATERIALIZED (
    SELECT j.* FROM batch, jsonb_to_recordset(given -> 'jobs') AS j(
        id uuid, provider text, reference text, request_id uuid, status text, precedence smallint, disputed boolean,
        decided_at timestamptz, decided_position integer, decided_by uuid, accepted_at timestamptz, finished_at timestamptz,
        deadline_at timestamptz, poll_at timestamptz, location text, notify boolean)
),
kept AS (
    INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors)
    SELECT id, identity, provider, received_at, verdict, method, target, headers, decode(body, 'base64'), errors
    FROM delivered
    ON CONFLICT (identity, verdict) WHERE verdict IN ('accepted', 'invalid', 'unmapped') DO NOTHING
    RETURNING id
),
repeated AS (
    INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers)
    SELECT id, identity, provider, received_at, 'duplicate', method, target, headers
    FROM delivered
    WHERE id NOT IN (SELECT id FROM kept)
),
stated AS (
    INSERT INTO events AS known (job_id, key, source, status, precedence, provider_status, code, detail, occurred_at,
        received_at, position, callback_id, request_id, actor)
    SELECT e.* FROM batch, jsonb_to_recordset(given -> 'events') AS e(
        job_id uuid, key uuid, source text, status text, precedence smallint, provider_status text, code text,
        detail text, occurred_at timestamptz, received_at timestamptz, position integer, callback_id uuid, request_id uuid,
        actor text)
    ON CONFLICT (job_id, key) DO UPDATE SET
        received_at = least(known.received_at, excluded.received_at),
        request_id = coalesce(known.request_id, excluded.request_id)
    WHERE excluded.received_at < known.received_at
        OR (known.request_id IS NULL AND excluded.request_id IS NOT NULL)
    RETURNING job_id
),
joined AS (
    INSERT INTO jobs AS known (id, provider, reference, request_id, status, precedence, disputed, decided_at,
        decided_position, decided_by, accepted_at, finished_at, deadline_at, poll_at, location, notify)
    SELECT id, provider, reference, request_id, status, precedence, disputed, decided_at, decided_position, decided_by,
        accepted_at, finished_at, deadline_at, poll_at, location, notify
    FROM wanted
    -- the events first, whole: whoever waits for a job then holds no event that another still waits for
    WHERE (SELECT count(*) FROM stated) >= 0
    ON CONFLICT (id) DO UPDATE SET
        (status, precedence, decided_at, decided_position, decided_by, finished_at) = (
            SELECT w.status, w.precedence, w.decided_at, w.decided_position, w.decided_by, w.finished_at
            FROM (VALUES
                (known.status, known.precedence, known.decided_at, known.decided_position, known.decided_by,
                    known.finished_at),
                (excluded.status, excluded.precedence, excluded.decided_at, excluded.decided_position,
                    excluded.decided_by, excluded.finished_at)
            ) AS w(status, precedence, decided_at, decided_position, decided_by, finished_at)
            -- 60: among operators the latest stands
            ORDER BY w.precedence DESC, CASE WHEN w.precedence = 60 THEN w.decided_at END DESC, w.decided_at,
                w.decided_position, w.decided_by LIMIT 1),
        disputed = CASE
            WHEN known.precedence > excluded.precedence THEN known.disputed
            WHEN known.precedence < excluded.precedence THEN excluded.disputed
            WHEN known.precedence = 60 THEN false
            ELSE known.disputed OR excluded.disputed OR known.status <> excluded.status END,
        accepted_at = least(known.accepted_at, excluded.accepted_at),
        request_id = coalesce(known.request_id, excluded.request_id),
        notify = CASE WHEN known.request_id IS NULL THEN excluded.notify ELSE known.notify END,
        location = coalesce(known.location, excluded.location),
        poll_at = CASE WHEN known.finished_at IS NULL AND excluded.finished_at IS NULL THEN known.poll_at END
    WHERE excluded.precedence > known.precedence
        OR (excluded.precedence = known.precedence AND excluded.precedence <> 60
            AND (known.decided_at, known.decided_position, known.decided_by)
                > (excluded.decided_at, excluded.decided_position, excluded.decided_by))
        OR (excluded.precedence = known.precedence AND excluded.precedence = 60
            AND (excluded.decided_at, known.decided_position, known.decided_by)
                > (known.decided_at, excluded.decided_position, excluded.decided_by))
        OR (excluded.precedence = known.precedence AND excluded.precedence <> 60
            AND (excluded.disputed OR excluded.status <> known.status) AND NOT known.disputed)
        OR excluded.accepted_at < known.accepted_at
        OR (excluded.request_id IS NOT NULL AND excluded.request_id IS DISTINCT FROM known.request_id)
    RETURNING known.id, known.request_id, known.notify, known.finished_at
),
noted AS (
    INSERT INTO notification_outbox (request_id)
    SELECT DISTINCT request_id FROM joined WHERE notify AND finished_at IS NOT NULL
)
SELECT joined.id, joined.request_id, wanted.request_id
FROM joined JOIN wanted USING (id)
WHERE wanted.request_id <> joined.request_id
