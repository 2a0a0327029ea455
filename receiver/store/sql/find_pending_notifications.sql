-- Return those of the requests that are finished in a way that was not notified yet: with a final status of their own,
-- or accepted and with only final jobs. The digest covers the request's status and end and the statuses of its jobs.
-- Execute it after `take_outbox` and as a separate statement, so that it sees everything that was committed before the
-- requests were locked.
SELECT requests.id, notify_url, outcome.jobs, outcome.digest, statement_timestamp() AS read_at
FROM requests CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, bool_and(jobs.finished_at IS NOT NULL) AS all_final,
        sha256(convert_to(concat_ws(' ', requests.status, extract(epoch FROM requests.finished_at),
            string_agg(concat_ws(' ', jobs.id, jobs.status, jobs.disputed), ' ' ORDER BY jobs.id)), 'UTF8')) AS digest
    FROM jobs WHERE jobs.request_id = requests.id
) AS outcome
WHERE requests.id = ANY(%(ids)s) AND notify_url IS NOT NULL
    AND (requests.finished_at IS NOT NULL OR requests.status = 'accepted' AND outcome.all_final)
    AND last_notified_digest IS DISTINCT FROM outcome.digest
ORDER BY requests.id
