-- name: find_job
-- Return one job.
SELECT id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at,
    request_id IS NULL AS unmatched
FROM jobs WHERE id = %(id)s

-- name: list_jobs
-- Return a page of jobs, newest first by `accepted_at` or, with `by_finished_at`, by `finished_at`. Each provider and
-- status is read separately, along the index that suits the filters and no further than one page; the newest of these
-- rows are the page. A filter that is null is not applied. Do not prepare the statement, so that the plan contains only
-- the filters in use.
SELECT job.id, job.provider, reference, request_id, job.status, disputed, accepted_at, finished_at, deadline_at,
    request_id IS NULL AS unmatched
FROM (
    SELECT item.id, item.sort_time
    FROM providers_with_jobs AS source
    CROSS JOIN unnest(%(statuses)s::text[]) AS candidate(status)
    CROSS JOIN LATERAL (
        SELECT id, sort_time
        FROM (
            SELECT *, CASE WHEN %(by_finished_at)s::boolean THEN finished_at ELSE accepted_at END AS sort_time FROM jobs
        ) AS job
        WHERE provider = source.provider AND status = candidate.status AND sort_time IS NOT NULL
            AND (%(before)s::timestamptz IS NULL OR (sort_time, id) < (%(before)s, %(before_id)s::uuid))
            -- a job never finishes before it is accepted, so that the index can skip earlier rows in both orders
            AND (%(accepted_from)s::timestamptz IS NULL OR accepted_at >= %(accepted_from)s
                AND sort_time >= %(accepted_from)s)
            AND (%(accepted_to)s::timestamptz IS NULL OR accepted_at < %(accepted_to)s)
            AND (%(finished_from)s::timestamptz IS NULL OR finished_at >= %(finished_from)s)
            AND (%(finished_to)s::timestamptz IS NULL OR finished_at < %(finished_to)s)
            AND (%(disputed)s::boolean IS NULL OR disputed = %(disputed)s)
            AND (%(unmatched)s::boolean IS NULL OR (request_id IS NULL) = %(unmatched)s)
            -- OFFSET 0: else all requests of the client would be read first
            AND (%(client)s::text IS NULL OR EXISTS (
                SELECT FROM requests WHERE requests.id = job.request_id AND requests.client = %(client)s OFFSET 0))
        ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
    ) AS item
    WHERE %(providers)s::text[] IS NULL OR ARRAY[source.provider, split_part(source.provider, '/', 1)] && %(providers)s::text[]
    ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
) AS page JOIN jobs AS job ON job.id = page.id
ORDER BY sort_time DESC, job.id DESC

-- name: list_named_jobs
-- Return a page of the jobs with certain ids or of certain requests, as list_jobs does, and of the later jobs of the same
-- references. There are few of them, so that all are read.
SELECT id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at,
    request_id IS NULL AS unmatched
FROM (
    SELECT *, CASE WHEN %(by_finished_at)s::boolean THEN finished_at ELSE accepted_at END AS sort_time FROM jobs
) AS job
WHERE status = ANY(%(statuses)s::text[]) AND sort_time IS NOT NULL
    AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s::uuid[] || ARRAY(
        SELECT job_id FROM reference_generations WHERE first_job_id = ANY(%(ids)s::uuid[]))))
    AND (%(request_ids)s::uuid[] IS NULL OR request_id = ANY(%(request_ids)s::uuid[]))
    AND (%(providers)s::text[] IS NULL OR ARRAY[provider, split_part(provider, '/', 1)] && %(providers)s::text[])
    AND (%(before)s::timestamptz IS NULL OR (sort_time, id) < (%(before)s, %(before_id)s::uuid))
    AND (%(accepted_from)s::timestamptz IS NULL OR accepted_at >= %(accepted_from)s)
    AND (%(accepted_to)s::timestamptz IS NULL OR accepted_at < %(accepted_to)s)
    AND (%(finished_from)s::timestamptz IS NULL OR finished_at >= %(finished_from)s)
    AND (%(finished_to)s::timestamptz IS NULL OR finished_at < %(finished_to)s)
    AND (%(disputed)s::boolean IS NULL OR disputed = %(disputed)s)
    AND (%(unmatched)s::boolean IS NULL OR (request_id IS NULL) = %(unmatched)s)
    AND (%(client)s::text IS NULL OR %(client)s = (SELECT client FROM requests WHERE requests.id = job.request_id))
ORDER BY sort_time DESC, id DESC LIMIT %(limit)s

-- name: find_client_requests
-- Return the ids of a client's requests, at most `limit` of them.
SELECT id FROM requests WHERE client = %(client)s AND provider <> 'notify' LIMIT %(limit)s

-- name: list_providers_with_jobs
-- Return the providers that have jobs.
SELECT provider FROM providers_with_jobs

-- name: find_resolution_time
-- Return when the operator's status that decides a job was received. Precedence 60 is that of operators, and of several
-- the latest decides: no other status of an operator is later.
SELECT decided_at FROM jobs WHERE id = %(id)s AND precedence = 60

-- name: find_poll_time
-- Return when a job is polled next.
SELECT poll_at FROM jobs WHERE id = %(id)s

-- name: set_job_deadline
-- Set the deadline of a job that has no final status yet.
UPDATE jobs SET deadline_at = %(deadline_at)s WHERE id = %(id)s AND finished_at IS NULL

-- name: find_awaited_jobs
-- Return those of the jobs `awaited` that are final, and the jobs `requested` whatever their status.
SELECT id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at,
    request_id IS NULL AS unmatched
FROM jobs WHERE id = ANY(%(awaited)s) AND finished_at IS NOT NULL OR id = ANY(%(requested)s)

-- name: find_due_polls
-- Return the providers for which a poll is due and may begin now, and whether it takes a send slot.
SELECT capacity.provider, limited FROM open_capacities(%(capacities)s::jsonb) AS capacity
WHERE (held_until IS NULL OR held_until <= now()) AND (open_until IS NULL OR open_until <= now())
    AND EXISTS (SELECT FROM jobs WHERE jobs.provider = capacity.provider AND poll_at <= now())

-- name: claim_polls
-- Lease jobs that are due for a poll, for each provider at most as many as its free capacity of exchanges allows. One
-- exchange polls as many jobs as `batches` states for the provider, by default one job; a job with a URL of its own
-- takes a whole exchange. The end of the lease, which lasts for the provider's seconds in `leases`, is the time of the
-- next poll, should this worker die; the result of this poll replaces it. See `open_capacities` for the providers that
-- are skipped.
WITH provider_limits AS (
    SELECT capacity.provider, batch.size, capacity.free * batch.size AS max_jobs,
        now() + make_interval(secs => (%(leases)s::jsonb ->> capacity.provider)::double precision) AS lease_ends_at
    FROM open_capacities(%(capacities)s::jsonb) AS capacity
    CROSS JOIN LATERAL (
        SELECT coalesce((%(batches)s::jsonb ->> capacity.provider)::integer, 1) AS size
    ) AS batch
),
due_jobs AS (
    SELECT job.id, provider_limits.max_jobs, provider_limits.lease_ends_at, now() AS polled_at,
        sum(CASE WHEN job.location IS NULL THEN 1 ELSE provider_limits.size END)
            OVER (PARTITION BY provider_limits.provider ORDER BY job.poll_at, job.id) AS used
    FROM provider_limits CROSS JOIN LATERAL (
        SELECT id, poll_at, location FROM jobs WHERE provider = provider_limits.provider AND poll_at <= now()
        ORDER BY poll_at LIMIT provider_limits.max_jobs
        FOR UPDATE SKIP LOCKED
    ) AS job
)
UPDATE jobs SET poll_at = lease_ends_at, polls = polls + 1
FROM due_jobs
WHERE jobs.id = due_jobs.id AND jobs.id = ANY(ARRAY(SELECT due_jobs.id FROM due_jobs WHERE used <= max_jobs))
RETURNING jobs.id, provider, reference, location, polls, accepted_at, deadline_at, polled_at

-- name: schedule_polls
-- Set when jobs are polled next, in `next_in` seconds from now; null stops polling. Lock these jobs, and the jobs
-- `other_ids` of which events are recorded next, in the global order.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(polls)s::jsonb) AS poll(id uuid, next_in double precision)
),
locked_jobs AS MATERIALIZED (
    SELECT jobs.id, input.id IS NOT NULL AS scheduled, now() + make_interval(secs => next_in) AS next_poll_at
    FROM jobs LEFT JOIN input USING (id)
    WHERE jobs.id = ANY(ARRAY(SELECT input.id FROM input) || %(other_ids)s::uuid[])
    ORDER BY jobs.id FOR UPDATE OF jobs
)
UPDATE jobs SET poll_at = locked_jobs.next_poll_at
FROM locked_jobs WHERE jobs.id = locked_jobs.id AND locked_jobs.scheduled AND poll_at IS NOT NULL

-- name: schedule_polls_now
-- Make open jobs due for a poll now, including jobs that are not polled any more. Of a reference that is used again the
-- newest job is polled, because the provider reports about no other.
UPDATE jobs SET poll_at = least(poll_at, now())
WHERE id = ANY(ARRAY(
        SELECT coalesce(newest.job_id, input.id)
        FROM unnest(%(ids)s::uuid[]) AS input(id) LEFT JOIN LATERAL (
            SELECT job_id FROM reference_generations WHERE first_job_id = input.id ORDER BY number DESC LIMIT 1
        ) AS newest ON true))
    AND finished_at IS NULL AND superseded_at IS NULL

-- name: lock_overdue_jobs
-- Lock and return open jobs whose deadline has passed. The rows stay locked until the `deadline` events are recorded.
SELECT id, provider, reference, deadline_at FROM jobs
WHERE status IN ('accepted', 'in_progress') AND deadline_at <= now()
ORDER BY deadline_at LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
