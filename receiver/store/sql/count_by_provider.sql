-- Return the number of requests and jobs by provider and status. Each status is counted along the index of its list,
-- which is a tenth of the size of the table. A provider may have several rows of the same status.
SELECT provider, 'requests', status, number
FROM operations_with_requests AS source
CROSS JOIN unnest(%(request_statuses)s::text[]) AS candidate(status)
CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM requests
    WHERE provider = source.provider AND operation = source.operation AND status = candidate.status
) AS total
WHERE number > 0
UNION ALL
SELECT provider, 'jobs', status, number
FROM providers_with_jobs AS source
CROSS JOIN unnest(%(job_statuses)s::text[]) AS candidate(status)
CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM jobs WHERE provider = source.provider AND status = candidate.status
) AS total
WHERE number > 0
