-- Return requests with the facts that the audit checks: the next requests after an id, of one provider or of all
-- providers, or the requests with the given ids.
--
-- The events of a request's jobs are read only where they can matter: for unknown requests, and for requests that wait
-- for another attempt. A response, also to a lookup or a poll, that reports a job as failed does not prove that the
-- request was accepted: the provider may have refused it.
SELECT requests.id, provider, status, detail, attempts, coalesce(attempt.rows, 0) AS attempt_rows,
    coalesce(attempt.newest, 0) AS newest_attempt, attempt.started_at, attempt.response_status,
    leased_until IS NULL OR leased_until <= now() AS lease_expired,
    coalesce(attempt.newest = attempts AND leased_until > attempt.started_at + interval '1 day'
        AND leased_until > now(), false) AS lease_too_long,
    (SELECT count(*) FROM (SELECT FROM jobs WHERE jobs.request_id = requests.id LIMIT 1) AS job) AS jobs,
    coalesce(evidence.named_by_response, false) AS named_by_response, evidence.accepted_at,
    operator_action.retried_at, coalesce(operator_action.resolved, false) AS resolved
FROM requests
LEFT JOIN LATERAL (
    SELECT count(*) OVER () AS rows, number AS newest, started_at, response_status
    FROM attempts WHERE request_id = requests.id ORDER BY number DESC LIMIT 1
) AS attempt ON true
LEFT JOIN LATERAL (
    SELECT bool_or(source = 'response') AS named_by_response,
        max(events.received_at) FILTER (WHERE events.status IS NOT NULL AND NOT (source IN ('response', 'poll')
            AND events.status = 'failed')) AS accepted_at
    FROM jobs JOIN events ON events.job_id = jobs.id AND events.request_id = requests.id
    WHERE jobs.request_id = requests.id
        AND (requests.status = 'unknown' OR (requests.status = 'queued' AND requests.attempts > 0))
) AS evidence ON true
LEFT JOIN LATERAL (
    SELECT max(created_at) FILTER (WHERE action = 'retry') AS retried_at,
        bool_or(action NOT IN ('retry', 'cancel')) AS resolved
    FROM actions
    WHERE subject = requests.id::text AND requests.status IN ('unknown', 'queued', 'accepted')
) AS operator_action ON true
WHERE (%(after)s::uuid IS NULL OR requests.id > %(after)s)
    AND (%(ids)s::uuid[] IS NULL OR requests.id = ANY(%(ids)s))
    AND (%(provider)s::text IS NULL OR provider = %(provider)s)
ORDER BY requests.id LIMIT %(limit)s
