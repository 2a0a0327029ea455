-- Requests with what there is to judge them by: the next ones after an id, of one provider or of all, or those named.
--
-- What is said of their jobs is read only where it can matter: for those that are unknown, or wait after an attempt. That
-- an answer, also one to a lookup, calls a job failed does not say that the request was taken: it may have been refused.
SELECT requests.id, provider, status, detail, attempts, coalesce(tried.rows, 0) AS rows,
    coalesce(tried.newest, 0) AS newest, tried.begun_at, tried.response_status,
    leased_until IS NULL OR leased_until <= now() AS lease_over,
    coalesce(tried.newest = attempts AND leased_until > tried.begun_at + interval '1 day'
        AND leased_until > now(), false) AS lease_absurd,
    (SELECT count(*) FROM (SELECT FROM jobs WHERE jobs.request_id = requests.id LIMIT 1) AS tied) AS jobs,
    coalesce(said.answered, false) AS answered, said.taken_at,
    operated.retried_at, coalesce(operated.settled, false) AS settled
FROM requests
LEFT JOIN LATERAL (
    SELECT count(*) OVER () AS rows, number AS newest, started_at AS begun_at, response_status
    FROM attempts WHERE request_id = requests.id ORDER BY number DESC LIMIT 1
) AS tried ON true
LEFT JOIN LATERAL (
    SELECT bool_or(source = 'response') AS answered,
        max(events.received_at) FILTER (WHERE events.status IS NOT NULL AND NOT (source IN ('response', 'poll')
            AND events.status = 'failed')) AS taken_at
    FROM jobs JOIN events ON events.job_id = jobs.id AND events.request_id = requests.id
    WHERE jobs.request_id = requests.id
        AND (requests.status = 'unknown' OR (requests.status = 'queued' AND requests.attempts > 0))
) AS said ON true
LEFT JOIN LATERAL (
    SELECT max(created_at) FILTER (WHERE action = 'retry') AS retried_at, bool_or(action NOT IN ('retry', 'cancel')) AS settled
    FROM actions WHERE subject = requests.id::text AND requests.status IN ('unknown', 'queued', 'accepted')
) AS operated ON true
WHERE (%(after)s::uuid IS NULL OR requests.id > %(after)s)
    AND (%(ids)s::uuid[] IS NULL OR requests.id = ANY(%(ids)s))
    AND (%(provider)s::text IS NULL OR provider = %(provider)s)
ORDER BY requests.id LIMIT %(limit)s
