-- Remove of the requests and jobs that are locked those that are over and of which nobody spoke since a time, whole: with
-- attempts, metadata, events, the callbacks that no other event names, and what operators did. In doubt they stay, and
-- while their end is still to be told.
--
-- Whoever speaks of a locked job waits; what was said just before it was locked makes the number of its events another.
WITH locked AS MATERIALIZED (
    SELECT key::uuid AS id, value::integer AS events FROM jsonb_each_text(%(jobs)s::jsonb)
),
counted AS MATERIALIZED (
    SELECT locked.id, locked.events, count(said.job_id) AS present, max(said.received_at) AS last_at,
        -- a callback and its repetitions are words too
        bool_or(EXISTS (
            SELECT FROM callbacks AS first WHERE first.id = said.callback_id
                AND (first.received_at >= %(before)s OR EXISTS (
                    SELECT FROM callbacks AS repeated WHERE repeated.identity = first.identity
                        AND repeated.verdict = 'duplicate' AND repeated.received_at >= %(before)s)))) AS repeated
    FROM locked LEFT JOIN events AS said ON said.job_id = locked.id
    GROUP BY locked.id, locked.events
),
silent AS MATERIALIZED (
    SELECT jobs.id, jobs.request_id FROM counted JOIN jobs USING (id)
    WHERE finished_at < %(before)s AND NOT disputed AND present = counted.events
        AND (last_at IS NULL OR last_at < %(before)s) AND NOT coalesce(repeated, false)
),
done AS MATERIALIZED (
    SELECT id FROM requests
    WHERE id = ANY(%(requests)s)
        AND CASE WHEN status = 'accepted' THEN EXISTS (SELECT FROM jobs WHERE request_id = requests.id)
            ELSE finished_at < %(before)s END
        AND NOT EXISTS (
            SELECT FROM jobs WHERE request_id = requests.id AND id NOT IN (SELECT silent.id FROM silent))
        -- nobody is told of what can be looked up no more: see receiver.outbound.notifications for how a notification names it
        AND NOT EXISTS (SELECT FROM notification_outbox WHERE request_id = requests.id)
        AND NOT EXISTS (
            SELECT FROM request_metadata AS named JOIN requests AS telling ON telling.id = named.request_id
            WHERE named.key = 'request_id' AND named.value = requests.id::text
                AND telling.provider = 'notify' AND telling.finished_at IS NULL)
),
ended AS MATERIALIZED (
    SELECT id FROM silent
    WHERE request_id IN (SELECT done.id FROM done)
        OR NOT EXISTS (SELECT FROM requests WHERE requests.id = silent.request_id)
),
unsaid AS (
    DELETE FROM events WHERE job_id = ANY(ARRAY(SELECT ended.id FROM ended)) RETURNING callback_id
),
unheard AS (
    DELETE FROM callbacks WHERE id = ANY(ARRAY(
        SELECT id FROM callbacks
        WHERE id IN (SELECT callback_id FROM unsaid) AND NOT EXISTS (
            SELECT FROM events WHERE callback_id = callbacks.id AND job_id NOT IN (SELECT ended.id FROM ended))
        FOR UPDATE SKIP LOCKED))
    RETURNING id
),
undone AS (
    DELETE FROM actions WHERE subject IN (SELECT id::text FROM unheard UNION ALL SELECT id::text FROM done)
),
untried AS (
    DELETE FROM attempts WHERE request_id = ANY(ARRAY(SELECT done.id FROM done))
),
unnamed AS (
    DELETE FROM request_metadata WHERE request_id = ANY(ARRAY(SELECT done.id FROM done))
),
unowned AS (
    DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT ended.id FROM ended)) RETURNING id
),
unasked AS (
    DELETE FROM requests WHERE id = ANY(ARRAY(SELECT done.id FROM done)) RETURNING id
)
SELECT (SELECT count(*) FROM unasked) AS requests, (SELECT count(*) FROM unowned) AS jobs,
    (SELECT count(*) FROM unsaid) AS events, (SELECT count(*) FROM unheard) AS callbacks, 0 AS idempotency_keys
