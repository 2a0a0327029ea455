-- name: find_traced_jobs
-- Return the jobs of what the ids name, which is callbacks, requests or jobs themselves, with the traces of their
-- requests. A job without a request is included, one whose request has no trace is not.
WITH candidate AS (
    SELECT callback_id AS origin_id, job_id FROM events WHERE callback_id = ANY(%(ids)s)
    UNION
    SELECT request_id, id FROM jobs WHERE request_id = ANY(%(ids)s)
    UNION
    SELECT id, id FROM jobs WHERE id = ANY(%(ids)s)
)
SELECT candidate.origin_id, job.id, job.provider, job.status, job.accepted_at, job.finished_at, job.decided_at,
    job.request_id, request.traceparent
FROM candidate JOIN jobs AS job ON job.id = candidate.job_id LEFT JOIN requests AS request ON request.id = job.request_id
WHERE job.request_id IS NULL OR request.traceparent IS NOT NULL
