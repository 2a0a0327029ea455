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
