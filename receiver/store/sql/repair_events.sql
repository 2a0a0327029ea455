-- Give events the weight that follows from their status and source, in the global order.
WITH told AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(events)s::jsonb) AS t(job_id uuid, key uuid, precedence smallint)
),
locked AS MATERIALIZED (
    SELECT known.job_id, known.key, told.precedence FROM events AS known JOIN told USING (job_id, key)
    ORDER BY known.job_id, known.key FOR UPDATE OF known
)
UPDATE events SET precedence = locked.precedence
FROM locked WHERE events.job_id = locked.job_id AND events.key = locked.key
