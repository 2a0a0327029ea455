-- Return the number of requests and jobs by status.
SELECT 'request', status, count(*) FROM requests GROUP BY status
UNION ALL
SELECT 'job', status, count(*) FROM jobs GROUP BY status
