-- How many requests and jobs there are, by provider and status. Each is counted along the index of its list, which is
-- a tenth of the table; a provider may come in several rows.
SELECT provider, 'requests', status, number
FROM operations_with_requests AS known
CROSS JOIN unnest(%(request_statuses)s::text[]) AS wanted(status)
CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM requests
    WHERE provider = known.provider AND operation = known.operation AND status = wanted.status
) AS counted
WHERE number > 0
UNION ALL
SELECT provider, 'jobs', status, number
FROM providers_with_jobs AS known
CROSS JOIN unnest(%(job_statuses)s::text[]) AS wanted(status)
CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM jobs WHERE provider = known.provider AND status = wanted.status
) AS counted
WHERE number > 0
