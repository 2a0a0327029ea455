-- Of each provider asked for: when it last called back, how many of its jobs ended or fell silent lately (the newest of
-- each kind, `most` at most), and of how many of these no callback spoke.
SELECT wanted.name AS name,
    (SELECT max(newest.received_at)
        FROM unnest(ARRAY['accepted', 'duplicate', 'invalid', 'unmapped']) AS taken(verdict) CROSS JOIN LATERAL (
            SELECT received_at FROM callbacks WHERE provider = wanted.name AND verdict = taken.verdict
            ORDER BY received_at DESC LIMIT 1) AS newest) AS last_callback_at,
    lately.jobs, lately.without_callback
FROM unnest(%(names)s::text[]) AS wanted(name) CROSS JOIN LATERAL (
    SELECT count(*) AS jobs,
        count(*) FILTER (WHERE NOT EXISTS (
            SELECT FROM events WHERE job_id = over.id AND source = 'callback')) AS without_callback
    FROM (
        (SELECT id FROM jobs WHERE provider = wanted.name AND status = 'succeeded' AND finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT %(most)s)
        UNION ALL
        (SELECT id FROM jobs WHERE provider = wanted.name AND status = 'failed' AND finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT %(most)s)
        UNION ALL
        (SELECT id FROM jobs WHERE provider = wanted.name AND status = 'unresolved'
            ORDER BY accepted_at DESC LIMIT %(most)s)
    ) AS over
) AS lately
