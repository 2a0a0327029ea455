-- name: find_generations
-- Return the generations of references, which are given by the ids of the jobs of their first generations.
SELECT first_job_id, number, job_id, opened_at FROM reference_generations
WHERE first_job_id = ANY(%(ids)s)

-- name: lock_generations
-- Return the generations of references, and lock them so that they are not removed while events are assigned to them.
SELECT first_job_id, number, job_id, opened_at FROM reference_generations
WHERE first_job_id = ANY(%(ids)s) ORDER BY first_job_id, number
FOR KEY SHARE

-- name: find_reuse_candidates
-- Return for each reference its newest job if that may have ended long before a request was first sent: the job is older
-- than `reuse_after` seconds, and events decide the rest. A request that its client sent itself has no attempts. Of
-- several requests the one that was sent first is returned.
SELECT DISTINCT ON (input.first_job_id) input.first_job_id, coalesce(newest.number, 1) + 1 AS number,
    job.id AS previous_job_id, opening.opened_at, input.reuse_after
FROM jsonb_to_recordset(%(references)s::jsonb) AS input(
    first_job_id uuid, request_id uuid, reuse_after double precision)
CROSS JOIN LATERAL (
    SELECT coalesce(
        (SELECT min(started_at) FROM attempts WHERE attempts.request_id = input.request_id),
        (SELECT created_at FROM requests WHERE requests.id = input.request_id)) AS opened_at
) AS opening
LEFT JOIN LATERAL (
    SELECT number, job_id, reference_generations.opened_at FROM reference_generations
    WHERE first_job_id = input.first_job_id ORDER BY number DESC LIMIT 1
) AS newest ON true
JOIN jobs AS job ON job.id = coalesce(newest.job_id, input.first_job_id)
WHERE job.accepted_at < opening.opened_at - make_interval(secs => input.reuse_after)
    AND (newest.opened_at IS NULL OR newest.opened_at < opening.opened_at)
ORDER BY input.first_job_id, opening.opened_at, input.request_id

-- name: lock_later_events
-- Lock those events of jobs that a new generation takes over, in the global order.
SELECT events.job_id, key
FROM events JOIN jsonb_to_recordset(%(openings)s::jsonb) AS opening(previous_job_id uuid, opened_at timestamptz)
    ON opening.previous_job_id = events.job_id
WHERE received_at >= opening.opened_at ORDER BY events.job_id, key FOR UPDATE OF events

-- name: insert_generation
-- Insert a generation.
INSERT INTO reference_generations (first_job_id, number, job_id, opened_at)
VALUES (%(first_job_id)s, %(number)s, %(job_id)s, %(opened_at)s)

-- name: delete_moved_events
-- Delete events that are stored again with the job of a new generation.
DELETE FROM events USING jsonb_to_recordset(%(events)s::jsonb) AS moved(job_id uuid, key uuid)
WHERE events.job_id = moved.job_id AND events.key = moved.key

-- name: find_prunable_references
-- Return the next references whose newest generation was opened before a time, by the ids of their first jobs.
SELECT first_job_id FROM reference_generations
WHERE first_job_id > %(after)s GROUP BY first_job_id HAVING max(opened_at) < %(before)s
ORDER BY first_job_id LIMIT %(limit)s

-- name: lock_prunable_generations
-- Lock the generations of references and return the ids of their first jobs. Skip what another transaction has locked.
SELECT DISTINCT first_job_id FROM (
    SELECT first_job_id FROM reference_generations WHERE first_job_id = ANY(%(ids)s) FOR UPDATE SKIP LOCKED
) AS generation

-- name: remove_generations
-- Delete the locked generations of those references that have no job any more.
DELETE FROM reference_generations
WHERE first_job_id = ANY(%(ids)s)
    AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = reference_generations.first_job_id)
    AND NOT EXISTS (
        SELECT FROM reference_generations AS other JOIN jobs ON jobs.id = other.job_id
        WHERE other.first_job_id = reference_generations.first_job_id)
