-- Set when jobs are asked about next, in seconds from now; null ends the asking. Rows are locked in the global order.
WITH told AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(polls)s::jsonb) AS t(id uuid, next_in double precision)
),
locked AS MATERIALIZED (
    SELECT jobs.id, next_in FROM jobs JOIN told USING (id)
    ORDER BY jobs.id FOR UPDATE OF jobs
)
UPDATE jobs SET poll_at = now() + make_interval(secs => locked.next_in)
FROM locked WHERE jobs.id = locked.id AND poll_at IS NOT NULL
