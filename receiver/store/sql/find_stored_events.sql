-- Return those of the events that are stored.
SELECT job_id, key
FROM events JOIN jsonb_to_recordset(%(events)s::jsonb) AS input(job_id uuid, key uuid) USING (job_id, key)
