-- How many requests and jobs there are, by provider and status; and how many jobs are disputed or unmatched.
SELECT provider, 'requests', status, count(*) FROM requests GROUP BY provider, status
UNION ALL
SELECT provider, 'jobs', status, count(*) FROM jobs GROUP BY provider, status
UNION ALL
SELECT provider, 'disputed', NULL, count(*) FROM jobs WHERE disputed GROUP BY provider
UNION ALL
SELECT provider, 'unmatched', NULL, count(*) FROM jobs WHERE request_id IS NULL GROUP BY provider
