-- name: count_by_provider
-- Return the number of requests and jobs by provider and status.
SELECT provider, kind, status, total FROM current_row_counts
WHERE kind IN ('requests', 'jobs') AND total > 0

-- name: find_completion_stats
-- Return for each of the named providers the percentiles of the seconds from acceptance to the final status, over the
-- newest `limit` jobs that succeeded and that failed, and its oldest job without a final status.
SELECT provider.name, duration.jobs, duration.percentiles, oldest.id, oldest.reference, oldest.accepted_at
FROM unnest(%(names)s::text[]) AS provider(name)
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
        ORDER BY extract(epoch FROM finished_at - accepted_at)::double precision) AS percentiles
    FROM (
        (SELECT accepted_at, finished_at FROM jobs
            WHERE jobs.provider = provider.name AND status = 'succeeded' AND finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT accepted_at, finished_at FROM jobs
            WHERE jobs.provider = provider.name AND status = 'failed' AND finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT %(limit)s)
    ) AS job
) AS duration
LEFT JOIN LATERAL (
    SELECT job.* FROM unnest(ARRAY['accepted', 'in_progress', 'unresolved']) AS candidate(status) CROSS JOIN LATERAL (
        SELECT id, reference, accepted_at FROM jobs
        WHERE jobs.provider = provider.name AND status = candidate.status
        ORDER BY accepted_at LIMIT 1) AS job
    ORDER BY accepted_at LIMIT 1
) AS oldest ON true

-- name: find_due_ages
-- Return for each of the named providers how many seconds ago its oldest due request, poll and lookup became due, 0 if
-- none is due.
SELECT provider.name,
    coalesce((
        SELECT extract(epoch FROM now() - due_at)::double precision FROM requests
        WHERE status = 'queued' AND requests.provider = provider.name AND due_at <= now()
        ORDER BY due_at LIMIT 1), 0) AS requests,
    coalesce((
        SELECT extract(epoch FROM now() - poll_at)::double precision FROM jobs
        WHERE jobs.provider = provider.name AND poll_at <= now()
        ORDER BY poll_at LIMIT 1), 0) AS polls,
    coalesce((
        SELECT extract(epoch FROM now() - next_lookup_at)::double precision FROM requests
        WHERE requests.provider = provider.name AND next_lookup_at <= now()
        ORDER BY next_lookup_at LIMIT 1), 0) AS lookups
FROM unnest(%(names)s::text[]) AS provider(name)

-- name: list_stored_providers
-- Return the providers of which rows are stored that may need attention, configured or not.
SELECT provider FROM current_row_counts WHERE total > 0
UNION SELECT provider FROM callback_refusals
ORDER BY provider

-- name: count_attention
-- Return for each of the named providers how many rows need attention, by kind. Queued requests and open jobs need
-- attention if their provider is not one of the `configured` ones: nothing is sent, polled or received for them.
SELECT provider.name AS name,
    coalesce(sum(unmatched), 0)::bigint AS unmatched,
    coalesce(sum(total) FILTER (WHERE kind = 'callbacks' AND status = 'unmapped'), 0)::bigint AS unmapped,
    coalesce(sum(total) FILTER (WHERE kind = 'callbacks' AND status = 'invalid'), 0)::bigint AS invalid,
    coalesce(sum(disputed), 0)::bigint AS disputed,
    coalesce(sum(total) FILTER (WHERE kind = 'jobs' AND status = 'unresolved'), 0)::bigint AS unresolved,
    coalesce(sum(total) FILTER (WHERE kind = 'requests' AND status = 'unknown'), 0)::bigint AS unknown,
    coalesce(sum(reference_conflict), 0)::bigint AS reference_conflict,
    coalesce(sum(total) FILTER (WHERE configured.name IS NULL AND (kind = 'requests' AND status = 'queued'
        OR kind = 'jobs' AND status IN ('accepted', 'in_progress'))), 0)::bigint AS unconfigured
FROM unnest(%(names)s::text[]) AS provider(name)
LEFT JOIN unnest(%(configured)s::text[]) AS configured(name) USING (name)
LEFT JOIN current_row_counts AS counts ON counts.provider = provider.name
GROUP BY provider.name

-- name: find_callback_stats
-- Return for each of the named providers when it last called back, the number of its recently ended jobs, and how many
-- of these have no callback. Recently ended are the newest `limit` jobs that succeeded, failed or are unresolved, each.
SELECT provider.name AS name,
    (SELECT max(newest.received_at)
        FROM unnest(ARRAY['accepted', 'duplicate', 'invalid', 'unmapped']) AS candidate(verdict) CROSS JOIN LATERAL (
            SELECT received_at FROM callbacks
            WHERE callbacks.provider = provider.name AND verdict = candidate.verdict
            ORDER BY received_at DESC LIMIT 1) AS newest) AS last_callback_at,
    recent.jobs, recent.without_callback
FROM unnest(%(names)s::text[]) AS provider(name) CROSS JOIN LATERAL (
    SELECT count(*) AS jobs,
        count(*) FILTER (WHERE NOT EXISTS (
            SELECT FROM events WHERE job_id = job.id AND source = 'callback')) AS without_callback
    FROM (
        (SELECT id FROM jobs WHERE jobs.provider = provider.name AND status = 'succeeded' AND finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT id FROM jobs WHERE jobs.provider = provider.name AND status = 'failed' AND finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT id FROM jobs WHERE jobs.provider = provider.name AND status = 'unresolved'
            ORDER BY accepted_at DESC LIMIT %(limit)s)
    ) AS job
) AS recent

-- name: count_open_jobs
-- Return the number of open jobs by age and status, at most `limit` of each. Ages are given by the first and the last
-- time of acceptance. Only the providers that have open jobs are read, along the index of the list.
WITH source AS MATERIALIZED (
    SELECT provider, status FROM current_row_counts
    WHERE kind = 'jobs' AND status = ANY(%(statuses)s::text[]) AND total > 0
        AND (%(providers)s::text[] IS NULL
            OR ARRAY[provider, split_part(provider, '/', 1)] && %(providers)s::text[])
)
SELECT age.number::integer, candidate.status, (
    SELECT count(*) FROM (
        SELECT FROM source CROSS JOIN LATERAL (
            SELECT FROM jobs
            WHERE jobs.provider = source.provider AND jobs.status = source.status
                AND accepted_at >= coalesce(age.since, '-infinity') AND accepted_at < coalesce(age.until, 'infinity')
            LIMIT %(limit)s) AS item
        WHERE source.status = candidate.status
        LIMIT %(limit)s) AS job)
FROM unnest(%(since)s::timestamptz[], %(until)s::timestamptz[]) WITH ORDINALITY AS age(since, until, number)
CROSS JOIN unnest(%(statuses)s::text[]) AS candidate(status)

-- name: count_by_status
-- Return the number of requests and jobs by status. Only for the small database of a demonstration.
SELECT 'request', status, count(*) FROM requests GROUP BY status
UNION ALL
SELECT 'job', status, count(*) FROM jobs GROUP BY status

-- name: list_all_requests
-- Return every request's client reference and status. Only for the small database of a demonstration.
SELECT payload ->> 'client_reference', status FROM requests

-- name: list_all_jobs
-- Return every job's reference and status, whether it is disputed, and whether its request is known. Only for the small
-- database of a demonstration.
SELECT reference, status, disputed, request_id IS NOT NULL FROM jobs
