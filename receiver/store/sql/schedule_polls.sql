-- Set when jobs are polled next, in `next_in` seconds from now; null stops polling. Lock these jobs, and the jobs
-- `other_ids` of which events are recorded next, in the global order.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(polls)s::jsonb) AS poll(id uuid, next_in double precision)
),
locked_jobs AS MATERIALIZED (
    SELECT jobs.id, input.id IS NOT NULL AS scheduled, next_in FROM jobs LEFT JOIN input USING (id)
    WHERE jobs.id = ANY(ARRAY(SELECT input.id FROM input) || %(other_ids)s::uuid[])
    ORDER BY jobs.id FOR UPDATE OF jobs
)
UPDATE jobs SET poll_at = now() + make_interval(secs => locked_jobs.next_in)
FROM locked_jobs WHERE jobs.id = locked_jobs.id AND locked_jobs.scheduled AND poll_at IS NOT NULL
