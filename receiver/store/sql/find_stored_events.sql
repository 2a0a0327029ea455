-- Those of some statements that are kept already.
SELECT job_id, key FROM events JOIN jsonb_to_recordset(%(events)s::jsonb) AS t(job_id uuid, key uuid) USING (job_id, key)
