-- Lease jobs that are due for a poll, for each provider at most as many as its free capacity of exchanges allows. One
-- exchange polls as many jobs as `batches` states for the provider, by default one job; a job with a URL of its own
-- takes a whole exchange. The end of the lease is the time of the next poll, should this worker die; the result of this
-- poll replaces it. See `open_capacities` for the providers that are skipped.
WITH provider_limits AS (
    SELECT capacity.provider, batch.size, capacity.free * batch.size AS max_jobs
    FROM open_capacities(%(capacities)s::jsonb) AS capacity
    CROSS JOIN LATERAL (
        SELECT coalesce((%(batches)s::jsonb ->> capacity.provider)::integer, 1) AS size
    ) AS batch
),
due_jobs AS (
    SELECT job.id, provider_limits.max_jobs,
        sum(CASE WHEN job.location IS NULL THEN 1 ELSE provider_limits.size END)
            OVER (PARTITION BY provider_limits.provider ORDER BY job.poll_at, job.id) AS used
    FROM provider_limits CROSS JOIN LATERAL (
        SELECT id, poll_at, location FROM jobs WHERE provider = provider_limits.provider AND poll_at <= now()
        ORDER BY poll_at LIMIT provider_limits.max_jobs
        FOR UPDATE SKIP LOCKED
    ) AS job
)
UPDATE jobs SET poll_at = now() + make_interval(secs => %(lease)s), polls = polls + 1
WHERE id = ANY(ARRAY(SELECT due_jobs.id FROM due_jobs WHERE used <= max_jobs))
RETURNING jobs.id, provider, reference, location, polls, accepted_at, deadline_at
