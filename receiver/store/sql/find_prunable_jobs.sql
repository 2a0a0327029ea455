-- Return the next final jobs of a provider that finished before a time, oldest first, each with the id of its request
-- if that request exists.
SELECT jobs.finished_at, jobs.id, requests.id AS request_id
FROM jobs LEFT JOIN requests ON requests.id = jobs.request_id
WHERE jobs.provider = %(provider)s AND jobs.status = %(status)s AND jobs.finished_at < %(before)s
    AND NOT disputed
    AND (jobs.finished_at, jobs.id) > (%(after)s, %(after_id)s)
ORDER BY jobs.finished_at, jobs.id LIMIT %(limit)s
