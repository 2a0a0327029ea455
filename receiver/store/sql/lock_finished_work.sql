-- Lock requests with all their jobs, and jobs without a request, with everything that was said of them. What somebody
-- else holds is passed by, so that nobody waits for who removes them, and they for nobody.
--
-- Gives the jobs that are locked, each with how many of its events are, and the requests that are.
WITH asked AS MATERIALIZED (
    SELECT id FROM requests
    WHERE id = ANY(%(requests)s)
        -- one that is to stay because of a single job is not locked with all its others, night after night
        AND NOT EXISTS (
            SELECT FROM jobs WHERE request_id = requests.id AND (finished_at IS NULL OR disputed))
    FOR UPDATE SKIP LOCKED
),
owned AS MATERIALIZED (
    SELECT id FROM jobs
    WHERE id = ANY(%(jobs)s) OR request_id = ANY(ARRAY(SELECT asked.id FROM asked))
    FOR UPDATE SKIP LOCKED
),
said AS MATERIALIZED (
    SELECT job_id FROM events WHERE job_id = ANY(ARRAY(SELECT owned.id FROM owned)) FOR UPDATE SKIP LOCKED
)
SELECT ARRAY(SELECT asked.id FROM asked) AS requests, coalesce(jsonb_object_agg(id, events), '{}')::text AS jobs
FROM (
    SELECT owned.id, count(said.job_id) AS events FROM owned LEFT JOIN said ON said.job_id = owned.id GROUP BY owned.id
) AS each
