-- The next final jobs of a provider that ended before a time, the earliest first: with the request each is tied to, if
-- there is such a request.
SELECT jobs.finished_at AS at, jobs.id, requests.id AS request_id
FROM jobs LEFT JOIN requests ON requests.id = jobs.request_id
WHERE jobs.provider = %(provider)s AND jobs.status = %(status)s AND jobs.finished_at < %(before)s
    AND NOT disputed
    AND (jobs.finished_at, jobs.id) > (%(after)s, %(after_id)s)
ORDER BY jobs.finished_at, jobs.id LIMIT %(limit)s
