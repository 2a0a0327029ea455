-- Set when jobs are asked about next, in seconds from now; null ends the asking. These jobs and the `others`, of which
-- something is to be recorded next, are locked in the global order.
WITH told AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(polls)s::jsonb) AS t(id uuid, next_in double precision)
),
locked AS MATERIALIZED (
    SELECT jobs.id, told.id IS NOT NULL AS asked, next_in FROM jobs LEFT JOIN told USING (id)
    WHERE jobs.id = ANY(ARRAY(SELECT told.id FROM told) || %(others)s::uuid[])
    ORDER BY jobs.id FOR UPDATE OF jobs
)
UPDATE jobs SET poll_at = now() + make_interval(secs => locked.next_in)
FROM locked WHERE jobs.id = locked.id AND locked.asked AND poll_at IS NOT NULL
