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
