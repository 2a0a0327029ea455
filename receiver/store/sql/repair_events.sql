-- Store the precedence that follows from the status and source of events; lock them in the global order.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(events)s::jsonb) AS event(job_id uuid, key uuid, precedence smallint)
),
locked_events AS MATERIALIZED (
    SELECT event.job_id, event.key, input.precedence FROM events AS event JOIN input USING (job_id, key)
    ORDER BY event.job_id, event.key FOR UPDATE OF event
)
UPDATE events SET precedence = locked_events.precedence
FROM locked_events WHERE events.job_id = locked_events.job_id AND events.key = locked_events.key
