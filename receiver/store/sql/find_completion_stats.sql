-- For each provider asked for, the seconds from acceptance to the final word of the jobs that ended last, `most` of each
-- status at most; and its oldest job without one.
SELECT wanted.name, told.jobs, told.percentiles, oldest.id, oldest.reference, oldest.accepted_at
FROM unnest(%(names)s::text[]) AS wanted(name)
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
        ORDER BY extract(epoch FROM finished_at - accepted_at)::double precision) AS percentiles
    FROM (
        (SELECT accepted_at, finished_at FROM jobs
            WHERE provider = wanted.name AND status = 'succeeded' AND finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT %(most)s)
        UNION ALL
        (SELECT accepted_at, finished_at FROM jobs
            WHERE provider = wanted.name AND status = 'failed' AND finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT %(most)s)
    ) AS ended
) AS told
LEFT JOIN LATERAL (
    SELECT first.* FROM unnest(ARRAY['accepted', 'in_progress', 'unresolved']) AS open(status) CROSS JOIN LATERAL (
        SELECT id, reference, accepted_at FROM jobs WHERE provider = wanted.name AND status = open.status
        ORDER BY accepted_at LIMIT 1) AS first
    ORDER BY accepted_at LIMIT 1
) AS oldest ON true
