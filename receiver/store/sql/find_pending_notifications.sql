-- Of these requests, those that are over and whose end is another than was last told: ended by themselves, or taken
-- and all their jobs final. An end is the status, when it came, and how the jobs stand. Call it after `take_outbox`, as
-- a statement of its own, so that it sees all that was committed before the requests were locked.
SELECT requests.id, notify_url, ended.jobs, ended.digest, statement_timestamp() AS at
FROM requests CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, bool_and(jobs.finished_at IS NOT NULL) AS all_final,
        sha256(convert_to(concat_ws(' ', requests.status, extract(epoch FROM requests.finished_at),
            string_agg(concat_ws(' ', jobs.id, jobs.status, jobs.disputed), ' ' ORDER BY jobs.id)), 'UTF8')) AS digest
    FROM jobs WHERE jobs.request_id = requests.id
) AS ended
WHERE requests.id = ANY(%(ids)s) AND notify_url IS NOT NULL
    AND (requests.finished_at IS NOT NULL OR requests.status = 'accepted' AND ended.all_final)
    AND last_notified_digest IS DISTINCT FROM ended.digest
ORDER BY requests.id
