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
